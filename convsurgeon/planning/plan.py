"""The plan: one row per convolution, as data that people can read, diff and edit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from convsurgeon.base.records import Record
from convsurgeon.families.cost import Cost
from convsurgeon.planning.cost_record import CostRecord
from convsurgeon.planning.floor_search import FloorSearch
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.plan_layers import Action, LayerLatency, PlanLatency, PlanLayer
from convsurgeon.planning.plan_streams import Gone, PlanLinear, PlanStream

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
            del content["linears"], content["streams"]
            for layer in content["layers"]:
                del layer["narrowed"]
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
