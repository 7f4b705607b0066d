"""A network as fx graphs: the whole where it traces, otherwise the largest parts that do."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS
from convsurgeon.families.unit import CompactConv
from convsurgeon.survey.graph import by_parts, trace

__all__ = ["Recording", "as_modules", "called_once", "first_argument", "module_of", "read_graphs", "record"]

_CONVS = (*PLAIN_CONVS, CompactConv)
_PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm2d)


def read_graphs(model: nn.Module) -> dict[str, fx.Graph]:
    """Graphs by qualified name (an empty one for the whole); what holds no convolution, or does not trace, has none."""
    return by_parts(model, _CONVS, lambda module: fx.GraphModule(module, trace(module, _leaf)).graph)


def as_modules(graphs: Mapping[str, fx.Graph], model: nn.Module) -> dict[str, fx.GraphModule]:
    """Graphs of a model, or of one that it was copied from, as modules whose own modules are the model's."""
    modules = {}
    for name, graph in graphs.items():
        module = model.get_submodule(name)
        modules[name] = _with_attributes(module, fx.GraphModule(module, copy.deepcopy(graph)))
    return modules


def _leaf(module: nn.Module) -> bool | None:
    """Convolutions and plain batch norms stay whole; norms with an activation inside are opened."""
    if isinstance(module, (*_CONVS, Absorbed)) or type(module) in _PLAIN_NORMS:
        return True
    return False if isinstance(module, _BatchNorm) else None


def _with_attributes(module: nn.Module, traced: fx.GraphModule) -> fx.GraphModule:
    """Carry plain attributes over: code around a part may read them (``backbone.out_channels``)."""
    for key, value in vars(module).items():
        if not key.startswith("_") and key not in vars(traced):
            setattr(traced, key, value)
    return traced


def module_of(traced: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls; None for other nodes."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return traced.get_submodule(str(node.target))


def first_argument(node: fx.Node) -> Any:
    """A module call's input, positional or not."""
    return node.args[0] if node.args else next(iter(node.kwargs.values()), None)


def called_once(traced: fx.GraphModule) -> set[fx.Node]:
    """Calls of modules that are called nowhere else, by whatever name, and whose tensors nothing else reads."""
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    times = Counter(id(traced.get_submodule(str(node.target))) for node in calls)
    read = [str(node.target) for node in traced.graph.nodes if node.op == "get_attr"]
    return {
        node
        for node in calls
        if times[id(module_of(traced, node))] == 1 and not any(name.startswith(f"{node.target}.") for name in read)
    }


@dataclass(frozen=True)
class Recording:
    """One run of a graph: the shape of every tensor, and the tensors that went into compact units."""

    shapes: Mapping[fx.Node, tuple[int, ...]]
    unit_inputs: Mapping[fx.Node, Tensor]


def record(traced: fx.GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Recording:
    """Run a graph on the inputs of one call."""
    recorder = _Recorder(traced)
    with torch.no_grad():
        recorder.run(*_positional(traced, args, kwargs))
    return Recording(recorder.shapes, recorder.unit_inputs)


class _Recorder(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.unit_inputs: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        source = first_argument(n) if n.op == "call_module" else None
        read = self.env.get(source) if isinstance(source, fx.Node) else None
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        if isinstance(read, Tensor) and isinstance(self.fetch_attr(str(n.target)), Absorbed):
            self.unit_inputs[n] = read
        return result


def _positional(traced: fx.GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The call's arguments in the order of the graph's placeholders; trailing defaults are left out."""
    places = [node for node in traced.graph.nodes if node.op == "placeholder"]
    values = list(args)
    for place in places[len(args) :]:
        if place.target not in kwargs and not place.args:
            break
        values.append(kwargs.get(str(place.target), place.args[0] if place.args else None))
    return values
