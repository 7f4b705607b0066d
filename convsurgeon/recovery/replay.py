"""One network's run, computed again by another: call by call, with the other's own results in between.

An ordinary network is one call. A detector ends by choosing: it thresholds, sorts and suppresses boxes, so that two
networks return other numbers of them in another order, and nothing can be compared. What it chooses from can. Those
modules are found by structure: from the network inwards, the outermost ones that return nothing but floating-point
tensors which gradients flow through. Another network is then asked call by call: where the original's argument came
from a found module, the other's own takes its place; what the original chose in between, as the regions of a two-stage
detector, both get. So features are compared at the same regions (Li, Jin, Yan, "Mimicking Very Efficient Network for
Object Detection", CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from convsurgeon.base.inputs import Inputs, tensors_in
from convsurgeon.base.observe import After, Before, observed

__all__ = ["WHOLE", "Course", "Parts", "find_parts", "recorded", "replayed"]


@dataclass(frozen=True)
class Parts:
    """Names of modules whose results are compared; ``ends`` are those that no other one takes up."""

    names: tuple[str, ...]
    ends: frozenset[str]


WHOLE = Parts(("",), frozenset({""}))


@dataclass(frozen=True)
class Course:
    """What the parts of a network were called with, and the tensors that each call returned.

    Among the arguments a ``Slot`` stands for a tensor that an earlier call returned.
    """

    calls: tuple[tuple[str, Inputs], ...]
    results: tuple[list[Tensor], ...]


@dataclass(frozen=True)
class Slot:
    """The tensor number ``leaf`` of what call number ``call`` returned."""

    call: int
    leaf: int


def recorded(model: nn.Module, parts: Parts, inputs: Inputs) -> Course:
    """Run the model and keep the calls of its parts.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    calls: list[tuple[str, Inputs]] = []
    results: list[list[Tensor]] = []
    came_from: dict[int, Slot] = {}
    # A tensor that nobody holds any more leaves its id to the next one.
    held: list[Any] = []

    def keeper(name: str) -> After:
        def keep(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            def slot(tensor: Tensor) -> Tensor | Slot:
                return came_from.get(id(tensor), tensor)

            mine, named = tree_map_only(Tensor, slot, (args, kwargs))
            found = tensors_in(output)
            came_from.update({id(tensor): Slot(len(calls), leaf) for leaf, tensor in enumerate(found)})
            held.append(output)
            calls.append((name, Inputs(mine, named)))
            # What runs behind may write into it.
            results.append([tensor.detach().clone() for tensor in found])

        return keep

    with observed(after=[(model.get_submodule(name), keeper(name)) for name in parts.names]):
        inputs.call(model)
    return Course(tuple(calls), tuple(results))


def replayed(model: nn.Module, course: Course) -> list[list[Tensor]]:
    """What the model's own parts return, call by call.

    Raises:
        ModelRunError: a part fails on what it is given.
    """
    results: list[list[Tensor]] = []

    def own(slot: Slot) -> Tensor:
        return results[slot.call][slot.leaf]

    for name, inputs in course.calls:
        args, kwargs = tree_map_only(Slot, own, (inputs.args, dict(inputs.kwargs)))
        results.append(tensors_in(Inputs(args, kwargs).call(model.get_submodule(name))))
    return results


@dataclass
class _Call:
    """A call of a module, and the calls that it made."""

    name: str
    taken: list[Tensor] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    made: list[_Call] = field(default_factory=list)


def find_parts(model: nn.Module, inputs: Inputs) -> Parts:
    """The parts of a model without gradients of its own: those of the module docstring, which can be replayed.

    A part that takes up nothing but what was computed between modules can't be, and is left out with what takes it up.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            root = _called(model, inputs)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    came_from: dict[int, str] = {}
    taken_up: set[str] = set()
    lost: set[str] = set()
    for call in _outermost(root):
        sources = {came_from[id(tensor)] for tensor in call.taken if id(tensor) in came_from} - lost
        if sources or not any(tensor.requires_grad for tensor in call.taken):
            taken_up |= sources
        else:
            lost.add(call.name)
        came_from.update(dict.fromkeys(map(id, call.returned), call.name))
    names = tuple(dict.fromkeys(name for name in came_from.values() if name not in lost))
    return Parts(names, frozenset(names) - taken_up)


def _called(model: nn.Module, inputs: Inputs) -> _Call:
    """Every call of a module below the model's own."""
    open_calls = [_Call("")]

    def enter(name: str) -> Before:
        def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = _Call(name, taken=tensors_in((args, kwargs)))
            open_calls[-1].made.append(call)
            open_calls.append(call)

        return note

    def leave(_args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
        open_calls.pop().returned = tensors_in(output)

    modules = list(model.named_modules())
    with observed(before=[(m, enter(name)) for name, m in modules], after=[(m, leave) for _, m in modules]):
        inputs.call(model)
    return open_calls[0].made[0]


def _outermost(call: _Call) -> Iterator[_Call]:
    if call.returned and all(tensor.requires_grad for tensor in call.returned):
        yield call
        return
    for inner in call.made:
        yield from _outermost(inner)
