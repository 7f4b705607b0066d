"""Which tensors of a graph share one channel order, and what has to follow if that order changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

__all__ = ["Edit", "Orders"]

Edit = Callable[[nn.Module, Tensor], nn.Module]


@dataclass
class _Class:
    """Tensors with one order: how many channels, whether it is bound to stay, who must follow."""

    channels: int
    bound: bool
    edits: list[tuple[fx.Node, Edit]]


class Orders:
    """Channel orders of a graph's tensors, as classes."""

    def __init__(self, shapes: Mapping[fx.Node, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._parent: dict[fx.Node, fx.Node] = {}
        self._classes: dict[fx.Node, _Class] = {}

    def find(self, node: fx.Node) -> fx.Node:
        """The tensor that stands for this tensor's class."""
        root = self._parent.setdefault(node, node)
        while root is not self._parent[root]:
            root = self._parent[root]
        self._parent[node] = root
        return root

    def of(self, node: fx.Node) -> _Class:
        """The class of a tensor."""
        root = self.find(node)
        if root not in self._classes:
            shape = self._shapes.get(node, ())
            known = len(shape) >= 3
            self._classes[root] = _Class(shape[1] if known else 0, bound=not known, edits=[])
        return self._classes[root]

    def bind(self, *nodes: Any) -> None:
        """These keep their order."""
        for node in nodes:
            if isinstance(node, fx.Node):
                self.of(node).bound = True

    def join(self, a: fx.Node, b: fx.Node, channels: int | None = None) -> None:
        """Two tensors with one order; ``channels`` where one of them is flattened."""
        one, other = self.of(a), self.of(b)
        if one is other:
            return
        if channels is not None:
            other.channels, other.bound = channels, False
        equal = one.channels == other.channels
        self._parent[self.find(b)] = self.find(a)
        joined = _Class(one.channels, one.bound or other.bound or not equal, one.edits + other.edits)
        self._classes[self.find(a)] = joined

    def follow(self, tensor: fx.Node, call: fx.Node, edit: Edit) -> None:
        """If the order of ``tensor`` changes, the module that ``call`` calls is replaced."""
        self.of(tensor).edits.append((call, edit))

    def free(self, node: fx.Node) -> bool:
        """Whether a tensor's order may change."""
        return not self.of(node).bound

    def edits(self, node: fx.Node) -> tuple[tuple[fx.Node, Edit], ...]:
        """Who must follow a change of this tensor's order."""
        return tuple(self.of(node).edits)

    def shape(self, node: Any) -> tuple[int, ...]:
        """A tensor's shape; empty for what is no tensor."""
        return self._shapes.get(node, ()) if isinstance(node, fx.Node) else ()
