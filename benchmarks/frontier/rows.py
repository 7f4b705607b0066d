"""A point with its times, a JSON object per line."""

from __future__ import annotations

from collections.abc import Sequence

from convsurgeon.base.records import Record

__all__ = ["Row", "merged"]


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
