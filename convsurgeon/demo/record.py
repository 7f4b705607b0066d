"""What the demonstration measured, as a record: printed with ``--json`` and drawn as a table."""

from __future__ import annotations

from typing import Literal

from convsurgeon._version import __version__
from convsurgeon.base.records import Record
from convsurgeon.planning.plan import CostRecord

__all__ = ["DemoReport", "DemoRow"]


class DemoRow(Record):
    """One method. Accuracies are top-1 shares on the test images.

    ``surgery``: with fresh weights in the replaced layers. ``calibration``: with the original's weights carried over
    in closed form (None where there is nothing to fit: learned groups start out equal to the original).
    ``recovery``: after distillation. ``latency_ms`` is the median of one forward of a batch, ``latency`` its ratio to
    the original's, timed in turn.
    """

    method: str
    replaced: int
    surgery: float
    calibration: float | None
    recovery: float
    after: CostRecord
    latency_ms: float
    latency: float


class DemoReport(Record):
    """The whole demonstration: the original's accuracy, cost and latency, and a row for each method."""

    schema_version: Literal[1] = 1
    convsurgeon: str = __version__
    target: str
    convolutions: int
    accuracy: float
    before: CostRecord
    latency_ms: float
    test_images: int
    train_images: int
    calibration_images: int
    recovery_steps: int
    learning_steps: int
    batch: int
    place: str
    seconds: float
    rows: tuple[DemoRow, ...]

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"
