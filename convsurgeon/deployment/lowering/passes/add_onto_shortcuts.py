"""A unit whose output is added to a shortcut writes its channels there, part by part, instead of joining them first.

Requires: eval mode, no gradients, a runtime that overwrites (eager). Ensures: equal outputs up to the order of two
additions.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import fx

from convsurgeon.deployment.lowering.graph import Recording, called_once, first_argument, module_of
from convsurgeon.deployment.lowering.passes.ownership import owns_its_memory
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS
from convsurgeon.families.forms.pieces import Onto

__all__ = ["Join", "add_onto_shortcuts", "find_joins"]

NAME = "add onto shortcuts"
_ADDITIONS: set[Any] = {operator.add, operator.iadd, torch.add}
_ADDING_METHODS = {"add", "add_"}


@dataclass(frozen=True)
class Join:
    """Names of an addition and of one summand, a unit's output; nobody needs the other one afterwards."""

    addition: str
    unit: str


def find_joins(traced: fx.GraphModule, recording: Recording) -> dict[str, Join]:
    """By the module of the unit: where its output may be added onto the other summand."""
    once, joins = called_once(traced), {}
    place = {node: index for index, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        for unit, shortcut in permutations(_summands(node, recording), 2):
            if unit in once and _goes_nowhere_else(traced, unit) and _is_last_reader(traced, node, shortcut, place):
                joins[str(unit.target)] = Join(node.name, unit.name)
                break
    return joins


def add_onto_shortcuts(traced: fx.GraphModule, joins: Mapping[str, Join]) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Put each unit where its output was added."""
    new = own_copy(traced)
    nodes = {node.name: node for node in new.graph.nodes}
    steps = []
    for name, join in joins.items():
        addition, unit = nodes[join.addition], nodes[join.unit]
        (shortcut,) = (summand for summand in addition.all_input_nodes if summand is not unit)
        new.set_submodule(name, Onto(new.get_submodule(name)))
        with new.graph.inserting_before(addition):
            replacement = new.graph.call_module(name, (shortcut, first_argument(unit)))
        addition.replace_all_uses_with(replacement)
        new.graph.erase_node(addition)
        new.graph.erase_node(unit)
        steps.append(Step(pass_name=NAME, where=name, what="in place"))
    return finished(new), tuple(steps)


def _summands(node: fx.Node, recording: Recording) -> list[fx.Node]:
    """Two tensors of one shape that a node adds and nothing else; none for other nodes."""
    adds = node.op == "call_function" and node.target in _ADDITIONS
    adds = adds or (node.op == "call_method" and node.target in _ADDING_METHODS)
    if not adds or node.kwargs or len(node.args) != 2 or len(node.all_input_nodes) != 2:
        return []
    shapes = {recording.shapes.get(summand) for summand in node.all_input_nodes}
    return node.all_input_nodes if len(shapes) == 1 and None not in shapes else []


def _goes_nowhere_else(traced: fx.GraphModule, unit: fx.Node) -> bool:
    """Only the addition reads the unit's output, and only the unit what it reads: so it may run later."""
    source = first_argument(unit)
    return (
        isinstance(module_of(traced, unit), Absorbed)
        and len(unit.users) == 1
        and isinstance(source, fx.Node)
        and len(source.users) == 1
        and owns_its_memory(traced, source)
    )


def _is_last_reader(traced: fx.GraphModule, addition: fx.Node, shortcut: fx.Node, place: Mapping[fx.Node, int]) -> bool:
    """Nobody reads the shortcut afterwards, not even through a view."""
    others = [user for user in shortcut.users if user is not addition]
    return owns_its_memory(traced, shortcut) and all(
        place[user] < place[addition] and type(module_of(traced, user)) in (*PLAIN_CONVS, Absorbed) for user in others
    )
