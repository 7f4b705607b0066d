"""The modules of a residual branch that can be taken out as a whole, found in its graph."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from convsurgeon.survey.calls import NEVER
from convsurgeon.survey.channels import Outside, Value
from convsurgeon.survey.sources import CONVS
from convsurgeon.survey.walk import Walk

__all__ = ["ACTIVATING", "ACTIVATIONS", "PRODUCTS", "BranchParts", "NotWhole", "Parts"]

# Modules and functions that map zeros to zeros and leave every shape.
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.Tanh),
)
ACTIVATING = (
    *("dropout", "dropout2d", "stochastic_depth", "contiguous"),
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "silu", "gelu", "hardswish", "mish", "tanh"),
)
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
_CHANNELS_ON_AXIS_1 = (*CONVS, _BatchNorm, _InstanceNorm, nn.GroupNorm)


class NotWhole(Exception):
    """Why a branch can't be taken out module by module."""


@dataclass(frozen=True)
class Parts:
    """What a block says of its parts."""

    parts: tuple[str, ...]
    activates: bool
    channels: int
    axes: int
    positions: int


@dataclass(frozen=True)
class _Part:
    """A module, all nodes of its forward, the one outside that it reads, and the one inside that others read."""

    name: str
    module: nn.Module
    nodes: frozenset[fx.Node]
    reads: fx.Node
    gives: fx.Node


class BranchParts:
    """Finds parts in the graph of one walk; ``is_tensor`` tells tensors from sizes and checks."""

    def __init__(self, walk: Walk, is_tensor: Callable[[fx.Node], bool]) -> None:
        self._walk, self._is_tensor = walk, is_tensor
        self._scopes: dict[str, list[fx.Node]] = defaultdict(list)
        for node in walk.traced.graph.nodes:
            for path in _paths(node) if node.op != "get_attr" else ():
                self._scopes[path].append(node)

    def of(
        self, is_source: Callable[[fx.Node], bool], nodes: Sequence[fx.Node], layers: Collection[str], last: str
    ) -> Parts:
        """The parts of the branch that ``nodes`` are, behind its source, which calls these layers.

        Raises:
            NotWhole: there are none, or something else than activations stays between them.
        """
        found = [part for part in self._whole(nodes) if not isinstance(part.module, nn.Identity)]
        unit = next((part for part in found if any(self._walk.layer(node) == last for node in part.nodes)), None)
        if unit is None:
            raise NotWhole(f"'{last}' is not called as a module of this branch alone")
        # A squeeze and excitation, say, behind the last layer.
        while (behind := self._layers_behind(unit, found, layers)) is not None:
            unit = behind
        crossed, activates = self._crossed(is_source, unit, {part.gives: part for part in found})
        covered = {node for part in crossed for node in part.nodes}
        for node in nodes:
            if (name := self._walk.layer(node)) in layers and node not in covered:
                raise NotWhole(f"'{name}' runs beside its last layer, not before it")
        read = self._walk.traced.seen[crossed[0].name].read
        seen = self._walk.traced.seen[unit.name]
        if read != seen.wrote or len(read) < 3 or not self._has_channels_on_axis_1(unit.gives, len(read)):
            raise NotWhole(f"'{unit.name}' does not write its channels on axis 1 of [N, C, …], as x has them")
        names = tuple(part.name for part in crossed)
        return Parts(names, activates, read[1], len(read) - 2, seen.entries // max(1, read[1]))

    def _whole(self, nodes: Sequence[fx.Node]) -> Iterator[_Part]:
        """The largest modules of which nothing runs elsewhere."""
        inside, done = set(nodes), set[fx.Node]()
        for node in nodes:
            if node not in done:
                found = next((part for path in _paths(node) if (part := self._part(path, inside)) is not None), None)
                if found is not None:
                    done |= found.nodes
                    yield found

    def _part(self, path: str, inside: Collection[fx.Node]) -> _Part | None:
        own = set(self._scopes[path])
        if not all(node in inside for node in own if self._is_tensor(node)):
            return None
        given = {one for node in own for one in node.all_input_nodes if one not in own and one.op != "get_attr"}
        gives = [node for node in own if any(user not in own for user in node.users)]
        traced = self._walk.traced
        module = traced.module.get_submodule(path)
        name = traced.names[module]
        seen, expected = traced.seen.get(name, NEVER), traced.seen.get(traced.part, NEVER).times
        if len(given) != 1 or len(gives) != 1 or seen.times != expected or not (seen.read and seen.wrote):
            return None
        return _Part(name, module, frozenset(own), given.pop(), gives[0]) if not traced.altered(name) else None

    def _layers_behind(self, unit: _Part, found: Sequence[_Part], layers: Collection[str]) -> _Part | None:
        readers = (part for part in found if part.reads is unit.gives)
        return next((part for part in readers if any(self._walk.layer(node) in layers for node in part.nodes)), None)

    def _crossed(
        self, is_source: Callable[[fx.Node], bool], unit: _Part, giving: dict[fx.Node, _Part]
    ) -> tuple[list[_Part], bool]:
        """The parts from the source to ``unit``, and whether anything else runs between the first and the last."""
        crossed, node = [unit], unit.reads
        between = passed = 0
        while not is_source(node):
            if node in giving:
                crossed.insert(0, giving[node])
                between, node = passed, giving[node].reads
                continue
            if not self._activates(node):
                raise NotWhole(f"{self._walk.words(node)} runs between its layers")
            passed += not isinstance(self._module(node), nn.Identity)
            node = node.all_input_nodes[0]
        return crossed, between > 0

    def _activates(self, node: fx.Node) -> bool:
        if len(node.all_input_nodes) != 1:
            return False
        if (module := self._module(node)) is not None:
            return isinstance(module, ACTIVATIONS)
        return node.target in PRODUCTS or getattr(node.target, "__name__", node.target) in ACTIVATING

    def _has_channels_on_axis_1(self, node: fx.Node, rank: int) -> bool:
        value = self._walk.values[node]
        if isinstance(value, Value):
            return (value.axis, value.rank, value.span) == (1, rank, 1)
        return isinstance(value, Outside) and isinstance(self._module(node), _CHANNELS_ON_AXIS_1)

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._walk.traced.module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _paths(node: fx.Node) -> list[str]:
    """The modules that the node is part of, the outermost first."""
    return [path for path, *_ in node.meta.get("nn_module_stack", {}).values()]
