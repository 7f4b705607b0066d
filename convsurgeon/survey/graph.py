"""Reading a network by fx: the whole where it traces, otherwise the largest parts that do."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from torch import fx, nn
from torch.nn.modules.conv import _ConvTransposeNd

from convsurgeon.base.errors import INTERRUPTIONS
from convsurgeon.base.working_folder import staying_here
from convsurgeon.families.unit import CompactConv

__all__ = ["TRACED_CONVS", "Leaf", "by_parts", "conv_graphs", "trace"]

TRACED_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, _ConvTransposeNd, CompactConv)

T = TypeVar("T")
# Whether a module stays one node of the graph; None leaves that to fx.
Leaf = Callable[[nn.Module], bool | None]


def trace(module: nn.Module, leaf: Leaf) -> fx.Graph:
    """The module's graph. Any code may stand in a forward, so any exception may come out of tracing it."""
    with staying_here():
        return _Tracer(leaf).trace(module)


class _Tracer(fx.Tracer):
    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self._leaf = leaf

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = self._leaf(m)
        return super().is_leaf_module(m, module_qualified_name) if leaf is None else leaf


def by_parts(
    model: nn.Module,
    convs: tuple[type[nn.Module], ...],
    read: Callable[[nn.Module], T],
    lists: Container[str] = (),
) -> dict[str, T]:
    """What ``read`` makes of the model (by an empty name), or where that fails of its children, and so on down.

    By qualified name; a module at several paths is tried once, at the first of them. Convolutions, and what holds
    none, are not worth a trace. Nor are the Sequentials that the network takes for ``lists``, since their forward does
    not run. A part's own graph names its modules from the part on.
    """
    parts: dict[str, T] = {}
    tried: set[nn.Module] = set()

    def descend(module: nn.Module, name: str) -> None:
        if module in tried or isinstance(module, convs) or not any(isinstance(m, convs) for m in module.modules()):
            return
        tried.add(module)
        if name not in lists:
            try:
                parts[name] = read(module)
                return
            except INTERRUPTIONS:
                raise
            except BaseException:
                # Whatever its code raised while it was traced, its children may do better.
                pass
        for child_name, child in module.named_children():
            descend(child, f"{name}.{child_name}" if name else child_name)

    descend(model, "")
    return parts


def conv_graphs(model: nn.Module, lists: Container[str] = ()) -> dict[str, fx.Graph]:
    """The graphs by part, in which every convolution is one node: also one of a class whose forward may not trace."""

    def read(part: nn.Module) -> fx.Graph:
        return trace(part, lambda one: isinstance(one, TRACED_CONVS) or None)

    return by_parts(model, TRACED_CONVS, read, lists)
