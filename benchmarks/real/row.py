"""What became of a subject under one method at one share."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from convsurgeon.base.records import Record

__all__ = ["ORIGINAL", "Row", "Time", "merged"]

ORIGINAL = "original"


class Time(Record):
    """Median ms of one forward in a runtime, the original's beside it, on one machine."""

    runtime: str
    original_ms: float
    ms: float
    threads: int
    device: str


class Row(Record):
    """One network.

    ``macs`` of a forward on the example inputs and ``params``; measures of the task; ``output_error``, relative, over
    the judging inputs (see ``transfer.agreement``); CPU ``seconds`` of planning and fitting, without what an earlier
    row had measured; ``source``, the packages; ``plan``, the same for rows of one network; ``failed``, why there is
    none.
    """

    subject: str
    method: str
    target: float
    source: str
    macs: int = 0
    params: int = 0
    measures: dict[str, float] = Field(default_factory=dict)
    output_error: float | None = None
    seconds: float = 0.0
    plan: str = ""
    failed: str = ""
    times: tuple[Time, ...] = ()

    @property
    def cell(self) -> tuple[str, str, float]:
        """Which row of the table it is."""
        return self.subject, self.method, self.target


def merged(rows: Sequence[Row], newer: Row) -> list[Row]:
    """In the order of cells; the newer row replaces its cell's."""
    known = {row.cell: row for row in (*rows, newer)}
    return [known[cell] for cell in sorted(known)]
