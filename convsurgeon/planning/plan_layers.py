"""Rows of a plan for convolutions, and what was timed."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, field_validator

from convsurgeon.base.records import Record
from convsurgeon.families import AnySpec
from convsurgeon.families.cost import ConvShape
from convsurgeon.planning.cost_record import CostRecord
from convsurgeon.runtimes.place import Place

__all__ = ["Action", "LayerLatency", "PlanLatency", "PlanLayer"]

Action = Literal["replaced", "narrowed", "dropped", "kept", "refused"]


class LayerLatency(Record):
    """Measured nanoseconds of one layer alone, over all its calls in one forward."""

    before_ns: int
    after_ns: int


class PlanLatency(Record):
    """Latency of the whole network in nanoseconds of one forward, as a plan promises it and as it was found.

    Attributes:
        place: where, and with what, everything was timed.
        batch: the batch size.
        before_ns: the original, measured.
        predicted_ns: ``before_ns`` less what the layers save, times ``realised``.
        measured_before_ns: the original again, in turn with the planned network (fresh weights).
        measured_after_ns: the planned network.
        realised: the share of the layers' saving that the whole network shows; 1 until measured otherwise.
        rounds: how many plans were built and measured.
    """

    place: Place
    batch: int
    before_ns: int
    predicted_ns: int
    measured_before_ns: int | None = None
    measured_after_ns: int | None = None
    realised: float = 1.0
    rounds: int = 0

    @property
    def ratio(self) -> float | None:
        """Measured latency of the planned network over the original's; None before it was measured."""
        if self.measured_after_ns is None or not self.measured_before_ns:
            return None
        return self.measured_after_ns / self.measured_before_ns


class PlanLayer(Record):
    """What happens to one convolution. To change it, edit ``spec``: costs are priced anew when a plan is read.

    ``narrowed`` is its shape where streams at its ends lose channels; ``spec`` then belongs to that shape.
    """

    name: str
    aliases: tuple[str, ...] = ()
    kind: str
    shape: ConvShape
    narrowed: ConvShape | None = None
    calls: NonNegativeInt
    positions: NonNegativeInt
    action: Action
    reason: str
    spec: AnySpec | None = None
    damage: float | None = None
    before: CostRecord
    after: CostRecord
    latency: LayerLatency | None = None

    @field_validator("shape", "narrowed")
    @classmethod
    def _of_a_convolution(cls, shape: ConvShape | None) -> ConvShape | None:
        if shape is not None and shape.flaw is not None:
            raise ValueError(shape.flaw)
        return shape

    @property
    def was(self) -> str:
        """The convolution, e.g. ``Conv2d 64→128 3×3 /2``."""
        return f"{self.kind} {self.shape.describe()}"

    @property
    def now(self) -> ConvShape:
        """The shape of the convolution that stays, or that is swapped."""
        return self.narrowed or self.shape
