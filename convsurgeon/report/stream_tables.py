"""A model's streams and residual blocks, as data and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from convsurgeon.survey.streams import Block, Stream

__all__ = ["blocks_as_data", "stream_lines", "stream_tables", "streams_as_data"]

_SHOWN = 2


def streams_as_data(streams: Iterable[Stream]) -> list[dict[str, Any]]:
    """Every stream with all who write, carry and read it."""
    return [
        {
            "name": stream.name,
            "channels": stream.channels,
            "producers": [producer.name for producer in stream.producers],
            "carriers": [asdict(carrier) for carrier in stream.carriers],
            "readers": [asdict(reader) for reader in stream.readers],
            "open": stream.closed is None,
            "reason": stream.closed,
        }
        for stream in streams
    ]


def blocks_as_data(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """Every residual branch that keeps its shape, with its layers."""
    return [
        {
            "name": block.name,
            "stream": block.stream,
            "layers": list(block.modules),
            "last": block.last,
            "open": block.closed is None,
            "reason": block.closed,
        }
        for block in blocks
    ]


def stream_lines(streams: Sequence[Stream], blocks: Sequence[Block]) -> list[str]:
    """How many can be narrowed, how many left out; nothing for what is not there."""
    lines = []
    if streams:
        lines.append(f"{_open(streams)} of {len(streams)} streams can be narrowed")
    if blocks:
        lines.append(f"{_open(blocks)} of {len(blocks)} residual branches can be left out")
    return lines


def stream_tables(streams: Sequence[Stream], blocks: Sequence[Block]) -> list[Table]:
    """A row for each; of many layers only the first are named."""
    tables = []
    if streams:
        table = _table("stream", "channels", "written by", "read by", "can be narrowed")
        for stream in streams:
            _row(
                table,
                stream.closed,
                stream.name,
                str(stream.channels),
                _names(producer.name for producer in stream.producers),
                _names(reader.name for reader in stream.readers),
            )
        tables.append(table)
    if blocks:
        table = _table("residual branch", "layers", "of stream", "last layer", "can be left out")
        for block in blocks:
            _row(table, block.closed, block.name, str(len(block.modules)), block.stream or "–", block.last)
        tables.append(table)
    return tables


def _open(rows: Sequence[Stream | Block]) -> int:
    return sum(row.closed is None for row in rows)


def _table(name: str, number: str, *titles: str) -> Table:
    table = Table(header_style="bold")
    table.add_column(name, overflow="fold")
    table.add_column(number, justify="right", no_wrap=True)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _row(table: Table, closed: str | None, *cells: str) -> None:
    answer = "yes" if closed is None else f"no: {closed}"
    table.add_row(*cells, answer, style="dim" if closed else "")


def _names(names: Iterable[str]) -> str:
    """The first few, each once, and how many there are besides."""
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - _SHOWN} more" if len(each) > _SHOWN else ""
    return ", ".join(each[:_SHOWN]) + more
