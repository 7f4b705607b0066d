"""What is published of each network: one line of docs/matrix.jsonl, and the tables that show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from compatibility.records import Cell, NetworkRow, State

__all__ = ["PublishedCell", "PublishedRow", "published", "read_published", "tables", "write_published"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedCell(_Record):
    """One method: ``share`` of the MACs is kept, or the least that can be reached where the target was refused.

    ``failed`` names the checks that failed, whatever the outcome.
    """

    outcome: Literal["converted", "refused", "nothing", "failed"]
    share: float | None = None
    failed: tuple[str, ...] = ()


class PublishedRow(_Record):
    """One network: MACs of one forward on ``inputs``, the methods, and seconds of CPU time."""

    library: str
    name: str
    inputs: str
    reduced: bool = False
    macs: int
    convolutions: int
    methods: dict[str, PublishedCell]
    export: State | None = None
    seconds: float


def published(row: NetworkRow) -> PublishedRow:
    """The line of one network."""
    exports = [cell.checks["export"].state for cell in row.cells if "export" in cell.checks]
    return PublishedRow(
        library=row.library,
        name=row.name,
        inputs=row.inputs,
        reduced=row.reduced,
        macs=row.macs,
        convolutions=row.convolutions,
        methods={cell.method: _published(cell) for cell in row.cells},
        export=exports[0] if exports else None,
        seconds=round(row.seconds, 1),
    )


def _published(cell: Cell) -> PublishedCell:
    share = cell.reachable if cell.outcome == "refused" else cell.kept
    failed = tuple(stage for stage, check in cell.checks.items() if check.state == "failed")
    return PublishedCell(outcome=cell.outcome, share=None if share is None else round(share, 4), failed=failed)


def read_published(path: Path) -> list[PublishedRow]:
    """The rows of the file."""
    return [PublishedRow.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_published(rows: Iterable[PublishedRow], path: Path) -> None:
    """One line of JSON a network, by library and name."""
    lines = [row.model_dump_json(exclude_defaults=True) for row in sorted(rows, key=lambda r: (r.library, r.name))]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def tables(rows: Sequence[PublishedRow]) -> str:
    """A table for each library, one line a network."""
    parts = []
    for library in dict.fromkeys(row.library for row in rows):
        parts += [f"## {library}", _networks([row for row in rows if row.library == library])]
    return "\n\n".join(parts) + "\n"


def _networks(rows: Sequence[PublishedRow]) -> str:
    methods = list(dict.fromkeys(method for row in rows for method in row.methods))
    lines = ["| network | input | GMACs | convolutions | " + " | ".join([*methods, "export", "s"]) + " |"]
    lines.append("|---" * (len(methods) + 6) + "|")
    lines += [_line(row, methods) for row in rows]
    return "\n".join(lines)


def _line(row: PublishedRow, methods: Sequence[str]) -> str:
    export = {"ok": "yes", "failed": "**no**"}.get(row.export or "", "")
    size = f"{row.inputs}{' ↓' if row.reduced else ''}"
    shown = [_cell(row.methods[method]) if method in row.methods else "" for method in methods]
    facts = [row.name, size, f"{row.macs / 1e9:.2f}", str(row.convolutions)]
    return "| " + " | ".join([*facts, *shown, export, f"{row.seconds:.0f}"]) + " |"


def _cell(cell: PublishedCell) -> str:
    if cell.failed or cell.outcome == "failed":
        return f"**failed**: {', '.join(cell.failed)}"
    if cell.outcome == "nothing":
        return "–"
    if cell.outcome == "refused":
        return f"≥ {cell.share or 0:.0%}".replace("%", " %")
    return f"{cell.share or 0:.1%}".replace("%", " %")
