"""A point with its times, a JSON object per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsurgeon.base.records import Record

__all__ = ["Row", "merged", "read_rows", "write_rows"]


class Row(Record):
    """All in percent: of the original's MACs and time (by runtime), of the test images, and points of top-1."""

    net: str
    machine: str
    method: str
    target: str
    in_time: bool
    macs: float
    changed: float
    lost: float
    lost_after_training: float | None
    times: dict[str, float]


def merged(rows: Sequence[Row], newer: Sequence[Row]) -> list[Row]:
    """A network timed again on a machine replaces its rows there, since only one run's times can be compared."""
    again = {(row.net, row.machine) for row in newer}
    return [row for row in rows if (row.net, row.machine) not in again] + list(newer)


def read_rows(path: Path) -> list[Row]:
    """Whatever is there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Row.model_validate_json(line) for line in lines]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Whole, or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
    partial.replace(path)
