"""A network in one file: a JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable

from convsurgeon.base.records import Record

__all__ = ["ORIGINAL", "Row", "Time", "Which", "merged"]

ORIGINAL = "original"


class Which(Record):
    """A network of a subject: its method, the percent of the MACs that it was planned for, and steps of training."""

    method: str
    target: int
    steps: int

    @property
    def slug(self) -> str:
        """For the names of files."""
        return f"{self.method}-{self.target}-{self.steps}"


class Time(Record):
    """Median time of one image, in percent of the original's float32 file, timed in turn with it on ``machine``."""

    percent: float
    machine: str


class Row(Record):
    """One network in one format and precision.

    ``macs`` in percent of the original's, ``bytes`` of the file, ``shape`` of the image that it is timed with. Over the
    judged images, in percent: ``top1``, None where they have no labels, and ``agreement``, the images with the class
    that the original gives them in PyTorch.
    """

    subject: str
    which: Which
    macs: float
    format: str
    precision: str
    shape: tuple[int, ...]
    bytes: int
    images: int
    top1: float | None
    agreement: float
    time: Time | None = None

    @property
    def cell(self) -> tuple[str, bool, str, int, int, str, str]:
        """Where the row stands: originals first."""
        which = self.which
        order = which.method != ORIGINAL, which.method, which.steps, -which.target
        return (self.subject, *order, self.format, self.precision)


def merged(rows: Iterable[Row], newer: Iterable[Row]) -> list[Row]:
    """In the order of cells; newer rows replace those of their cells."""
    known = {row.cell: row for row in (*rows, *newer)}
    return [known[cell] for cell in sorted(known)]
