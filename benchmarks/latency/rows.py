"""What was timed, a JSON object per line: kept beside the page, so that every machine adds to what others timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsurgeon.base.records import Record

__all__ = ["Cell", "Row", "merged", "read_rows", "write_rows"]


class Cell(Record):
    """What is timed; ``lowered`` brings all three networks into their deployment form first, ``on`` is the device."""

    net: str
    method: str
    share: float
    runtime: str
    batch: int
    lowered: bool = True
    on: str = "cpu"


class Row(Cell):
    """One precision of a cell: median and quartiles in ms, shares of the original's MACs, where it was timed."""

    precision: str
    macs_kept: float
    rival_macs_kept: float | None
    original_ms: tuple[float, float, float]
    converted_ms: tuple[float, float, float]
    rival_ms: float | None
    threads: int
    device: str
    torch: str
    note: str = ""

    @property
    def cell(self) -> Cell:
        """What it is a row of."""
        return Cell(**self.model_dump(include=set(Cell.model_fields)))

    @property
    def ratio(self) -> float:
        """Latency of the converted network over its original's."""
        return self.converted_ms[0] / self.original_ms[0]

    @property
    def rival_ratio(self) -> float | None:
        """The same for channel pruning; None where it failed."""
        return None if self.rival_ms is None else self.rival_ms / self.original_ms[0]


def merged(rows: Sequence[Row], newer: Sequence[Row]) -> list[Row]:
    """All of them, in one order; a newer row replaces the one of the same cell, precision and machine."""
    known = {(row.device, row.threads, row.cell, row.precision): row for row in (*rows, *newer)}
    return sorted(known.values(), key=_place_in_file)


def _place_in_file(row: Row) -> tuple[object, ...]:
    what = (row.net, row.method, -row.share, row.runtime, row.precision, row.batch, row.lowered)
    return row.on, row.device, row.threads, *what


def read_rows(path: Path) -> list[Row]:
    """Whatever is there; nothing if the file is not."""
    if not path.is_file():
        return []
    return [Row.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
    partial.replace(path)
