"""The plan: one row per convolution, as data that people can read, diff and edit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError, model_validator

from convsurgeon.base.errors import RecipeError, UnknownName, UsageError
from convsurgeon.base.reading import parse_json, read_text
from convsurgeon.base.records import Record, from_file, mistakes
from convsurgeon.families import AnySpec
from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.runtimes.place import Place

if TYPE_CHECKING:
    from convsurgeon.survey.sites import Site, Survey

__all__ = [
    "Action",
    "CostRecord",
    "LayerLatency",
    "Plan",
    "PlanLatency",
    "PlanLayer",
    "read_plan",
    "read_plan_file",
]

Action = Literal["replaced", "kept", "refused"]


class CostRecord(Record):
    """MACs and parameters, exact."""

    macs: int
    params: int

    @classmethod
    def of(cls, cost: Cost) -> CostRecord:
        """From a Cost."""
        return cls(macs=cost.macs, params=cost.params)

    def cost(self) -> Cost:
        """As a Cost."""
        return Cost(self.macs, self.params)


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
    """What happens to one convolution. To change it, edit ``spec``: costs are priced anew when a plan is read."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: str
    shape: ConvShape
    calls: int
    positions: int
    action: Action
    reason: str
    spec: AnySpec | None = None
    damage: float | None = None
    before: CostRecord
    after: CostRecord
    latency: LayerLatency | None = None

    @property
    def was(self) -> str:
        """The convolution, e.g. ``Conv2d 64→128 3×3 /2``."""
        return f"{self.kind} {self.shape.describe()}"


class Plan(Record):
    """A versioned plan; ``fingerprint`` belongs to the model it was made for."""

    version: Literal[1] = 1
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
    layers: tuple[PlanLayer, ...]

    @model_validator(mode="after")
    def _each_site_once(self) -> Plan:
        times = Counter(layer.name for layer in self.layers)
        if twice := [name for name, count in times.items() if count > 1]:
            raise ValueError(f"'{twice[0]}' has {times[twice[0]]} rows in layers; expected one for each convolution")
        return self

    @property
    def replaced(self) -> tuple[PlanLayer, ...]:
        """The layers that change, in execution order."""
        return tuple(layer for layer in self.layers if layer.action == "replaced")

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
        self._check_inputs(survey)
        if self.counted_on == survey.counted_on == "meta":
            self._check_counts(found)

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


def read_plan(text: str, origin: str = "plan") -> Plan:
    """Read a plan and price its rows anew, so that an edited spec needs no arithmetic.

    Raises:
        RecipeError: not a plan; lists every mistake.
    """
    try:
        plan = from_file(Plan, parse_json(text, origin))
    except ValidationError as error:
        raise RecipeError(f"{origin} is not a plan of version 1:\n{mistakes(error)}") from error
    layers = tuple(_repriced(layer, origin) for layer in plan.layers)
    after = plan.before.cost() + Cost.total(row.after.cost() - row.before.cost() for row in layers)
    changed: dict[str, Any] = {"layers": layers, "after": CostRecord.of(after)}
    if any(row.latency is None and old.latency is not None for row, old in zip(layers, plan.layers, strict=True)):
        # Nobody timed what was written into it by hand.
        changed["latency"] = None
    return plan.model_copy(update=changed)


def _repriced(layer: PlanLayer, origin: str) -> PlanLayer:
    if (layer.spec is None) != (layer.action != "replaced"):
        raise RecipeError(f"{origin}: layer '{layer.name}' is '{layer.action}' but has spec {layer.spec!r}.")
    after, reason = layer.before, layer.reason
    if layer.spec is not None:
        if misfit := layer.spec.misfit(layer.shape):
            raise RecipeError(f"{origin}: layer '{layer.name}' can't become {layer.spec.describe()}: {misfit}.")
        after, reason = CostRecord.of(layer.spec.cost(layer.shape, layer.positions)), layer.spec.describe()
    edited = (after, reason) != (layer.after, layer.reason)
    latency = None if edited else layer.latency
    return layer.model_copy(update={"after": after, "reason": reason, "latency": latency})


def read_plan_file(path: Path) -> Plan:
    """Read a plan from a file.

    Raises:
        UnknownName: no such file.
        RecipeError: not a plan.
    """
    if not path.is_file():
        raise UnknownName(f"no plan at '{path}'; 'convsurgeon plan MODEL' writes one.")
    return read_plan(read_text(path), str(path))
