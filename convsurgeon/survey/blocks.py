"""Residual branches that can be left out, found in a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import takewhile

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase

from convsurgeon.survey.branch_parts import ACTIVATING, ACTIVATIONS, PRODUCTS, BranchParts, NotWhole
from convsurgeon.survey.calls import NEVER
from convsurgeon.survey.channels import Outside, Value
from convsurgeon.survey.graph import TRACED_CONVS
from convsurgeon.survey.sources import is_linear
from convsurgeon.survey.streams import Block
from convsurgeon.survey.walk import Walk

__all__ = ["find_blocks"]

_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
_DIFFERENCES = (operator.sub, operator.isub, torch.sub, "sub", "sub_")
# What gives zeros where it reads zeros.
_SILENT = (*ACTIVATING, "permute", "transpose")
# Functions that cost MACs, and layers that cost none or are priced one by one.
_COSTLY = (
    *("matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention", "linear", "bilinear"),
    *(f"conv{turned}{axes}d" for turned in ("", "_transpose") for axes in (1, 2, 3)),
)
_PRICED = (*TRACED_CONVS, _NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.PReLU)


def find_blocks(walk: Walk, why_kept: Callable[[str], str | None]) -> list[Block]:
    """The blocks of a graph that a walk has been through; ``why_kept`` says why a module may not be left out."""
    branches = _Branches(walk)
    found: dict[str, Block] = {}
    for node in walk.traced.graph.nodes:
        for source, end in _operands(node):
            block = branches.block(node, branches.origin(source), end, why_kept)
            if block is not None:
                name = block.name if block.name not in found else block.modules[0]
                found.setdefault(name, replace(block, name=name))
    return [_innermost(block, found.values()) for block in found.values()]


def _innermost(block: Block, others: Collection[Block]) -> Block:
    """A branch that holds another one stays: that one can go alone, and its loss is less."""
    held = (one for one in others if one.closed is None and set(one.modules) < set(block.modules))
    inner = next(held, None) if block.closed is None else None
    return block if inner is None else replace(block, closed=f"it holds '{inner.name}', which can be left out")


def _operands(node: fx.Node) -> Iterator[tuple[fx.Node, fx.Node]]:
    """What an addition may keep, and what it may lose; of a difference only the second operand."""
    nodes = [one for one in node.args if isinstance(one, fx.Node)]
    if len(nodes) == 2 and node.target in (*_SUMS, *_DIFFERENCES):
        yield nodes[0], nodes[1]
        if node.target in _SUMS:
            yield nodes[1], nodes[0]


class _Branches:
    """Which nodes lie between two others; sets of nodes are bit masks over their order."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._modules = {name: module for module, name in walk.traced.names.items()}
        self._nodes: list[fx.Node] = list(walk.traced.graph.nodes)
        self._bit = {node: 1 << place for place, node in enumerate(self._nodes)}
        self._upstream: dict[fx.Node, int] = {}
        self._inputs = sum(self._bit[node] for node in self._nodes if node.op == "placeholder")
        for node in self._nodes:
            mask = self._bit[node]
            for before in node.all_input_nodes:
                mask |= self._upstream[before]
            self._upstream[node] = mask
        self._parts = BranchParts(walk, self._is_tensor)

    def origin(self, node: fx.Node) -> fx.Node:
        """The node whose value this one hands on as it is."""
        while (name := self._walk.layer(node)) is not None and isinstance(self._modules[name], nn.Identity):
            node = node.all_input_nodes[0]
        return node

    def block(
        self, join: fx.Node, source: fx.Node, end: fx.Node, why_kept: Callable[[str], str | None]
    ) -> Block | None:
        """The branch from ``source`` to ``end``, None where that is none, or holds no convolution."""
        if source is end or not self._upstream[end] & self._bit[source]:
            return None
        nodes = self._between(source, end)
        called = [name for node in nodes if (name := self._walk.layer(node)) is not None]
        last = self._last(end, nodes)
        if last is None or not any(isinstance(self._modules[name], TRACED_CONVS) for name in called):
            return None
        if not self._keeps_shape(called[0], last) or self._spreads(source, end):
            return None
        # An activation without weights may well be one object that other branches call, too.
        modules = [name for name in dict.fromkeys(called) if self._modules[name].state_dict() or name == last]
        closed = self._why_closed(join, source, nodes) or next(
            (f"'{name}': {kept}" for name in modules if (kept := why_kept(name)) is not None), None
        )
        block = Block(_common(modules), tuple(modules), last, self._stream(source), closed)
        return block if closed is not None else self._taken_apart(block, source, nodes)

    def _taken_apart(self, block: Block, source: fx.Node, nodes: list[fx.Node]) -> Block:
        """The block with its parts, or closed where it has none."""
        try:
            parts = self._parts.of(lambda node: self.origin(node) is source, nodes, block.modules, block.last)
        except NotWhole as why:
            return replace(block, closed=str(why))
        return replace(block, **vars(parts))

    def _between(self, source: fx.Node, end: fx.Node) -> list[fx.Node]:
        bit = self._bit[source]
        return [
            node
            for node in self._nodes
            if self._upstream[end] & self._bit[node] and self._upstream[node] & bit and self.origin(node) is not source
        ]

    def _why_closed(self, join: fx.Node, source: fx.Node, nodes: list[fx.Node]) -> str | None:
        inside = {*nodes, join}
        if len(getattr(self._walk.values[source], "pieces", ())) > 1:
            return "what it is added to are several streams side by side"
        for node in filter(self._is_tensor, nodes):
            if any(user not in inside and self._reads(user) for user in node.users):
                return f"what {self._walk.words(node)} gives is read outside of the branch, too"
            for given in node.all_input_nodes:
                other = self._is_tensor(given) and self._upstream[given] & self._inputs
                if other and given not in inside and self.origin(given) is not source:
                    return f"{self._walk.words(node)} reads more than the branch"
            if self._unpriced(node):
                return f"what {self._walk.words(node)} costs is not counted layer by layer"
        return None

    def _unpriced(self, node: fx.Node) -> bool:
        name = self._walk.layer(node)
        if name is None:
            return getattr(node.target, "__name__", str(node.target)) in _COSTLY
        module = self._modules[name]
        return bool(module.state_dict()) and not isinstance(module, _PRICED) and not is_linear(module)

    def _reads(self, user: fx.Node) -> bool:
        """Whether a user reads values: not where it only asks for a size, or fetches an item that nothing uses."""
        return self._is_tensor(user) and bool(user.users or user.target is not operator.getitem)

    def _is_tensor(self, node: fx.Node) -> bool:
        """Sizes and what checks ask for stay as they are without the branch."""
        return isinstance(self._walk.values[node], Value | Outside)

    def _last(self, end: fx.Node, nodes: Collection[fx.Node]) -> str | None:
        """The module that makes the branch give zeros where it gives zeros itself."""
        if end not in nodes:
            return None
        name = self._walk.layer(end)
        if name is not None and not isinstance(self._modules[name], ACTIVATIONS):
            return name
        silent = name is not None or getattr(end.target, "__name__", end.target) in _SILENT
        if not silent and end.target not in PRODUCTS:
            return None
        before = [name for one in end.all_input_nodes if (name := self._last(one, nodes)) is not None]
        # Of a product the factor with weights: the other one may well be a gate's sigmoid.
        return next((name for name in before if self._modules[name].state_dict()), before[0] if before else None)

    def _keeps_shape(self, first: str, last: str) -> bool:
        # Sorted, because a branch may put the channels last meanwhile; it was added, so that the axes agree.
        seen = self._walk.traced.seen
        read, wrote = seen.get(first, NEVER).read, seen.get(last, NEVER).wrote
        return bool(read) and sorted(read) == sorted(wrote)

    def _spreads(self, source: fx.Node, end: fx.Node) -> bool:
        """Whether the sum is larger than its kept operand."""
        kept, lost = self._walk.values[source], self._walk.values[end]
        return isinstance(kept, Value) and kept.single and isinstance(lost, Value) and not lost.single

    def _stream(self, source: fx.Node) -> str | None:
        value = self._walk.values[source]
        if not isinstance(value, Value) or len(value.pieces) != 1 or isinstance(value.pieces[0], Outside):
            return None
        return self._walk.stream(value.pieces[0]).name


def _common(names: list[str]) -> str:
    """The longest path of modules that all names begin with, or the first name."""
    steps = zip(*(name.split(".") for name in names), strict=False)
    common = takewhile(lambda step: len(set(step)) == 1, steps)
    return ".".join(step[0] for step in common) or names[0]
