"""Channel orders that units would like to read and write become the orders of the tensors between the layers.

Every class of tensors that share an order (see ``orders``) takes the order that most bytes are written or read in;
weights, norms and other units follow, so that no channel is moved at run time.

Requires: the shapes of a run. Ensures: the same outputs; inputs and outputs of the network keep their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, fx

from convsurgeon.deployment.lowering.forms import Form
from convsurgeon.deployment.lowering.graph import Recording, first_argument, module_of
from convsurgeon.deployment.lowering.order_rules import read_orders
from convsurgeon.deployment.lowering.orders import Orders
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed, in_order

__all__ = ["absorb_orders"]

NAME = "absorb channel orders"


def absorb_orders(
    traced: fx.GraphModule, recording: Recording, chosen: Mapping[str, Form]
) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Give each class of tensors the order that the chosen forms (by the unit's name) want most."""
    orders = read_orders(traced, recording.shapes)
    wishes: dict[fx.Node, list[tuple[Tensor, int]]] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module" and str(node.target) in chosen:
            for tensor, order in _wishes(node, chosen[str(node.target)]):
                if orders.free(tensor):
                    size = math.prod(orders.shape(tensor))
                    wishes.setdefault(orders.find(tensor), []).append((order, size))
    new = own_copy(traced)
    names = {node: node.name for node in traced.graph.nodes}
    here = {node.name: node for node in new.graph.nodes}
    steps = []
    for tensor, wanted in wishes.items():
        order = _most_wanted(wanted)
        if in_order(order):
            continue
        edits = orders.edits(tensor)
        for call, edit in edits:
            target = str(here[names[call]].target)
            new.set_submodule(target, edit(new.get_submodule(target), order))
        what = f"one order of {len(order)} channels through {len(edits)} readings and writings"
        steps.append(Step(pass_name=NAME, where=str(tensor.target), what=what))
    return finished(new), (*steps, *_left(new, orders, traced, chosen))


def _wishes(node: fx.Node, form: Form) -> list[tuple[fx.Node, Tensor]]:
    source = first_argument(node)
    wishes = [] if form.order is None else [(node, form.order)]
    return wishes if form.reads is None or not isinstance(source, fx.Node) else [*wishes, (source, form.reads)]


def _most_wanted(wishes: list[tuple[Tensor, int]]) -> Tensor:
    """Equal wishes count together."""
    sums: list[tuple[Tensor, int]] = []
    for order, size in wishes:
        place = next((i for i, (known, _) in enumerate(sums) if torch.equal(known, order)), None)
        if place is None:
            sums.append((order, size))
        else:
            sums[place] = (order, sums[place][1] + size)
    return max(sums, key=lambda pair: pair[1])[0]


def _left(new: fx.GraphModule, orders: Orders, old: fx.GraphModule, chosen: Mapping[str, Form]) -> list[Step]:
    """Units whose wish was not granted."""
    steps = []
    for node in old.graph.nodes:
        unit = module_of(new, node) if node.op == "call_module" and str(node.target) in chosen else None
        form = chosen.get(str(node.target))
        if not isinstance(unit, Absorbed) or form is None or form.order is None:
            continue
        if not torch.equal(unit.writes, form.order):
            why = "another unit's order won on a shared join" if orders.free(node) else "its order is bound"
            steps.append(Step(pass_name=NAME, where=str(node.target), what=f"kept an order: {why}", done=False))
    return steps
