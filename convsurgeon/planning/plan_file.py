"""Plans read from text and files: rows that were edited are priced anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from convsurgeon.base.errors import RecipeError, UnknownName
from convsurgeon.base.reading import parse_json, read_text
from convsurgeon.base.records import from_file, mistakes
from convsurgeon.families.cost import ConvShape
from convsurgeon.planning.cost_record import CostRecord
from convsurgeon.planning.narrow_shapes import narrowed_conv_cost, narrowed_shape
from convsurgeon.planning.plan import Action, Plan, PlanLayer, plan_cost
from convsurgeon.planning.plan_blocks import dropped_layers, goes_with
from convsurgeon.planning.plan_streams import Gone, PlanLinear

__all__ = ["read_plan", "read_plan_file"]


def read_plan(text: str, origin: str = "plan") -> Plan:
    """Read a plan and price its rows anew, so that an edited spec needs no arithmetic.

    Raises:
        RecipeError: not a plan; lists every mistake.
    """
    try:
        plan = from_file(Plan, parse_json(text, origin))
    except ValidationError as error:
        raise RecipeError(f"{origin} is not a plan of version 1 or 2:\n{mistakes(error)}") from error
    streams = tuple(row.described_anew() for row in plan.streams)
    blocks = tuple(row.as_dropped(row.action == "dropped") for row in plan.blocks)
    gone, dropped = Gone(streams), dropped_layers(blocks)
    for name, shape in (
        *((layer.name, layer.shape) for layer in plan.layers),
        *((linear.layer.name, linear.layer.shape) for linear in plan.linears),
    ):
        _refuse_emptied(name, shape, gone.of(name), origin)
    layers = tuple(
        _repriced(layer, gone, origin) if layer.name not in dropped else _dropped(layer, dropped[layer.name])
        for layer in plan.layers
    )
    linears = tuple(
        PlanLinear.of(row.layer, gone.of(row.layer.name), dropped=row.layer.name in dropped) for row in plan.linears
    )
    changed: dict[str, Any] = {
        "layers": layers,
        "linears": linears,
        "streams": streams,
        "blocks": blocks,
        "after": CostRecord.of(plan_cost(plan.before.cost(), layers, linears, streams, blocks)),
    }
    if any(row.latency is None and old.latency is not None for row, old in zip(layers, plan.layers, strict=True)):
        # Nobody timed what was written into it by hand.
        changed["latency"] = None
    if changed["after"] != plan.after:
        # Nor judged.
        changed["floor"] = None
    return plan.model_copy(update=changed)


def _refuse_emptied(name: str, shape: ConvShape, lost: tuple[int, int], origin: str) -> None:
    """A layer at the end of streams must keep at least one input and one output."""
    for gone, channels, side in zip(lost, (shape.in_channels, shape.out_channels), ("inputs", "outputs"), strict=True):
        if gone and gone >= channels:
            raise RecipeError(f"{origin}: the streams take {gone} of the {channels} {side} of '{name}' away.")


def _repriced(layer: PlanLayer, gone: Gone, origin: str) -> PlanLayer:
    if (layer.spec is None) != (layer.action != "replaced"):
        raise RecipeError(f"{origin}: layer '{layer.name}' is '{layer.action}' but has spec {layer.spec!r}.")
    lost = gone.of(layer.name)
    shape = narrowed_shape(layer.shape, lost)
    action: Action = layer.action
    if layer.spec is None and action != "refused":
        action = "kept" if shape == layer.shape else "narrowed"
    after, reason = narrowed_conv_cost(layer.before.cost(), layer.shape, lost, layer.positions), layer.reason
    if layer.action == "dropped":
        reason = "its residual branch is kept"
    if layer.spec is not None:
        if misfit := layer.spec.misfit(shape):
            raise RecipeError(f"{origin}: layer '{layer.name}' can't become {layer.spec.describe()}: {misfit}.")
        after, reason = layer.spec.cost(shape, layer.positions), layer.spec.describe()
    edited = (CostRecord.of(after), reason) != (layer.after, layer.reason)
    changed = {
        "narrowed": None if shape == layer.shape else shape,
        "action": action,
        "after": CostRecord.of(after),
        "reason": reason,
        "latency": None if edited else layer.latency,
        "damage": None if edited else layer.damage,
    }
    return layer.model_copy(update=changed)


def _dropped(layer: PlanLayer, branch: str) -> PlanLayer:
    """The row of a layer whose branch is dropped, whatever the layer was to become."""
    latency = None if layer.action != "dropped" else layer.latency
    nothing = {"narrowed": None, "spec": None, "damage": None, "after": CostRecord(macs=0, params=0)}
    return layer.model_copy(update={"action": "dropped", "reason": goes_with(branch), "latency": latency, **nothing})


def read_plan_file(path: Path) -> Plan:
    """Read a plan from a file.

    Raises:
        UnknownName: no such file.
        RecipeError: not a plan.
    """
    if not path.is_file():
        raise UnknownName(f"no plan at '{path}'; 'convsurgeon plan MODEL' writes one.")
    return read_plan(read_text(path), str(path))
