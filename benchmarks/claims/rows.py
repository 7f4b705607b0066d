"""One trained net, a JSON object per line, so that a run that was stopped goes on where it was."""

from __future__ import annotations

from pathlib import Path

from convsurgeon.base.records import Record

__all__ = ["ROWS", "Row"]

ROWS = Path(__file__).with_name("rows.jsonl")


class Row(Record):
    """MACs of an image, parameters, top-1 on the test images in percent.

    ``groups`` are those of each layer that learns them, at every few steps and at the end; none where nothing learns.
    """

    claim: str
    variant: str
    seed: int
    macs: int
    params: int
    top1: float
    groups: tuple[tuple[int, ...], ...] = ()
