"""The plan: one row per convolution, as data that people can read, diff and edit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.base.records import Record
from convsurgeon.families import AnySpec
from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.planning.cost_record import CostRecord
from convsurgeon.planning.floor_search import FloorSearch
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.plan_streams import Gone, PlanLinear, PlanStream
from convsurgeon.planning.stream_fits import check_blocks, check_streams
from convsurgeon.runtimes.place import Place

if TYPE_CHECKING:
    from convsurgeon.survey.sites import Site, Survey

__all__ = [
    "Action",
    "CostRecord",
    "LayerLatency",
    "Plan",
    "PlanBlock",
    "PlanLatency",
    "PlanLayer",
    "PlanLinear",
    "PlanStream",
    "plan_cost",
]

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


class Plan(Record):
    """A versioned plan; ``fingerprint`` belongs to the model it was made for.

    ``floor`` tells how it was found where a floor was asked for: the last of the targets is then what was found.

    Version 2 has ``streams`` of channels and residual ``blocks``, and the ``linears`` that these change; version 1
    only swaps convolutions.
    """

    version: Literal[1, 2] = 1
    model: str
    fingerprint: str
    input_shapes: tuple[tuple[int, ...], ...]
    counted_on: Literal["meta", "device"]
    method: str
    target: tuple[str, ...]
    objective: str
    solver: str
    notes: tuple[str, ...] = ()
    before: CostRecord
    after: CostRecord
    latency: PlanLatency | None = None
    floor: FloorSearch | None = None
    layers: tuple[PlanLayer, ...]
    linears: tuple[PlanLinear, ...] = ()
    streams: tuple[PlanStream, ...] = ()
    blocks: tuple[PlanBlock, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_its_version_lacks(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if self.floor is None:
            # Plans that were made to targets alone stay what they always were, to the letter.
            del content["floor"]
        if not self.blocks:
            del content["blocks"]
        if self.version == 1:
            content = {key: value for key, value in content.items() if key not in ("linears", "streams")}
            content["layers"] = [_without_narrowed(layer) for layer in content["layers"]]
        return content

    @model_validator(mode="after")
    def _version_2_for_streams(self) -> Plan:
        if self.version == 1 and (self.streams or self.linears or self.blocks):
            raise ValueError("a plan with streams or blocks is one of version 2; expected version: 2")
        return self

    @model_validator(mode="after")
    def _each_site_once(self) -> Plan:
        times = Counter(layer.name for layer in self.layers)
        if twice := [name for name, count in times.items() if count > 1]:
            raise ValueError(f"'{twice[0]}' has {times[twice[0]]} rows in layers; expected one for each convolution")
        times = Counter(row.stream.name for row in self.streams)
        if twice := [name for name, count in times.items() if count > 1]:
            raise ValueError(f"'{twice[0]}' has {times[twice[0]]} rows in streams; expected one for each stream")
        times = Counter(name for row in self.dropped for name in row.block.modules)
        if twice := [name for name, count in times.items() if count > 1]:
            raise ValueError(f"'{twice[0]}' goes with {times[twice[0]]} dropped rows in blocks; expected one at most")
        return self

    @property
    def replaced(self) -> tuple[PlanLayer, ...]:
        """The convolutions that are swapped, in execution order."""
        return tuple(layer for layer in self.layers if layer.action == "replaced")

    @property
    def changed(self) -> bool:
        """Whether anything is done to the network."""
        return bool(self.replaced or self.narrowed or self.dropped)

    @property
    def damage(self) -> float:
        """What was estimated for all that is done, summed."""
        layers, streams = (row.damage for row in self.layers), (row.damage for row in self.streams)
        damages = (*layers, *streams, *(row.damage for row in self.blocks))
        return math.fsum(damage or 0.0 for damage in damages)

    @property
    def narrowed(self) -> tuple[PlanStream, ...]:
        """The streams that lose channels."""
        return tuple(stream for stream in self.streams if stream.action == "narrowed")

    @property
    def dropped(self) -> tuple[PlanBlock, ...]:
        """The residual branches that are left out."""
        return tuple(row for row in self.blocks if row.action == "dropped")

    def __repr__(self) -> str:
        """Pydantic would print every layer."""
        kept = f"{self.after.macs / max(1, self.before.macs):.1%} of the MACs"
        return f"Plan({self.model!r}, {self.method!r}, {len(self.replaced)} of {len(self.layers)} replaced, {kept})"

    __str__ = __repr__

    def to_json(self) -> str:
        """The plan as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"

    def check_fits(self, survey: Survey) -> None:
        """Refuse a model, or inputs, that the plan was not made for.

        Raises:
            UnknownName: names the first layer that differs.
            UsageError: inputs of other shapes, for which the plan's costs do not hold.
        """
        found = {site.name: site for site in survey.sites}
        for layer in self.layers:
            site = found.get(layer.name)
            if site is None:
                raise UnknownName(f"the plan was made for another model: '{layer.name}' is not in this one.")
            if site.shape != layer.shape or site.kind != layer.kind:
                raise UnknownName(
                    f"the plan was made for another model: '{layer.name}' is {site.kind} {site.shape.describe()} "
                    f"here and {layer.kind} {layer.shape.describe()} in the plan."
                )
        if extra := sorted(set(found) - {layer.name for layer in self.layers}):
            raise UnknownName(f"the plan was made for another model: it does not know '{extra[0]}'.")
        check_streams(self.streams, self.linears, survey)
        check_blocks(self.blocks, self.linears, survey)
        self._check_inputs(survey)
        if self.counted_on == survey.counted_on == "meta":
            self._check_counts(found)
            if self.before.cost() != survey.total:
                raise UsageError(
                    f"the plan says that the model has {self.before.macs:,} MACs and {self.before.params:,} "
                    f"parameters; it has {survey.total.macs:,} and {survey.total.params:,}. Edit only specs and "
                    "actions, or make a new plan."
                )

    def _check_inputs(self, survey: Survey) -> None:
        if survey.input_shapes != self.input_shapes:
            planned, given = (
                ", ".join(str(list(shape)) for shape in shapes) for shapes in (self.input_shapes, survey.input_shapes)
            )
            raise UsageError(
                f"the plan was made for inputs {planned}, these are {given}: its costs hold for the former only. "
                "Pass inputs of those shapes (--input N,C,H,W on the command line), or make a new plan."
            )

    def _check_counts(self, found: dict[str, Site]) -> None:
        """Costs are priced from these, so a changed one would be a wrong cost."""
        for layer in self.layers:
            site = found[layer.name]
            here = (site.calls, site.positions, site.cost)
            planned = (layer.calls, layer.positions, layer.before.cost())
            if here != planned:
                raise UsageError(
                    f"the plan says of '{layer.name}': {layer.calls} calls, {layer.positions} positions, "
                    f"{layer.before.macs:,} MACs, {layer.before.params:,} parameters; this model has {site.calls}, "
                    f"{site.positions}, {site.cost.macs:,} and {site.cost.params:,}. Edit only specs and actions, or "
                    "make a new plan."
                )


def _without_narrowed(layer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key != "narrowed"}


def plan_cost(
    before: Cost,
    layers: Iterable[PlanLayer],
    linears: Iterable[PlanLinear],
    streams: Sequence[PlanStream],
    blocks: Iterable[PlanBlock] = (),
) -> Cost:
    """What a network costs once all of this is done to it."""
    gone = Gone(streams).by_stream
    return before + Cost.total(
        (
            *(layer.after.cost() - layer.before.cost() for layer in layers),
            *(linear.after.cost() - linear.before.cost() for linear in linears),
            *(stream.cost for stream in streams),
            *(block.cost(gone) for block in blocks if block.action == "dropped"),
        )
    )
