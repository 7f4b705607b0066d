"""What was timed: kept beside the page, so that every machine adds to what others timed."""

from __future__ import annotations

from collections.abc import Sequence

from convsurgeon.base.records import Record

__all__ = ["Cell", "Row", "merged"]


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
