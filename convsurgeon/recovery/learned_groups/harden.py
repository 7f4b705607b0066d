"""From trained gates to the network that is deployed, and to the plan that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.families.memory_format import stored_as
from convsurgeon.families.torch_convs import conv_like, conv_shape
from convsurgeon.families.unit import GatedConv
from convsurgeon.planning.plan import CostRecord, Plan, PlanLayer
from convsurgeon.recovery.learned_groups.budget import GatedLayer, GroupBudget

__all__ = ["hardened", "replanned"]

ALL_OPEN = "all gates stayed open: the plain convolution, trained on"


def hardened(model: nn.Module, layers: Sequence[GatedLayer]) -> nn.Module:
    """A copy of the model in which every gated layer is hardened, wherever something refers to it.

    A layer without a closed gate becomes the plain convolution again: it has one group, and nothing to permute.
    """
    instead: dict[nn.Module, nn.Module] = {}
    for layer in layers:
        gated = model.get_submodule(layer.name)
        if isinstance(gated, GatedConv):
            new = gated.harden() if bool((gated.gates() == 0).any()) else _plain(gated)
            instead[gated] = stored_as(gated.weight, new).requires_grad_(gated.weight.requires_grad)
    return duplicate(model, instead)


def _plain(gated: GatedConv) -> nn.Module:
    shape = conv_shape(gated)
    conv = conv_like(shape, shape.in_channels, shape.out_channels, bias=shape.bias).to(gated.weight)
    with torch.no_grad():
        conv.weight.copy_(gated.weight)
        if conv.bias is not None and gated.bias is not None:
            conv.bias.copy_(gated.bias)
    return conv.train(gated.training)


def replanned(plan: Plan, closed: Mapping[str, int], budget: GroupBudget) -> Plan:
    """The plan of the hardened network, priced anew, with the targets it meets."""
    gated = {layer.name: layer for layer in budget.layers}
    rows = tuple(_row(row, gated[row.name], closed[row.name]) if row.name in closed else row for row in plan.layers)
    return plan.model_copy(
        update={
            "layers": rows,
            "target": tuple(target.text for target in budget.targets),
            "objective": "learned gates; they begin at the least variance lost over left after a refit, summed",
            "solver": "learned groups and a last exact projection (scipy milp, HiGHS)",
            "notes": tuple(note for note in plan.notes if "every gate open" not in note),
            "after": CostRecord.of(budget.cost(closed)),
            # Nobody timed the hardened network.
            "latency": None,
        }
    )


def _row(row: PlanLayer, layer: GatedLayer, closed: int) -> PlanLayer:
    if closed == 0:
        return row.model_copy(
            update={"action": "kept", "spec": None, "reason": ALL_OPEN, "after": row.before, "latency": None}
        )
    spec = layer.spec.closed(closed)
    after = CostRecord.of(layer.cost(closed))
    return row.model_copy(update={"spec": spec, "after": after, "reason": spec.describe(), "latency": None})
