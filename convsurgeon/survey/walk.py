"""Walking a graph from its inputs to its outputs, and noting whose channels each value holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsurgeon.survey.calls import NEVER, Called
from convsurgeon.survey.channels import Dim, Group, NotUnderstood, Outside, Shape, Value
from convsurgeon.survey.channelwise import leaves
from convsurgeon.survey.layers import Layer, linear, normed, through
from convsurgeon.survey.operations import rule_of
from convsurgeon.survey.streams import Stream

__all__ = ["Traced", "Walk"]

_SPLITS = ("chunk", "split", "split_with_sizes", "tensor_split", "unbind")
_MIXING = ("layer_norm", "group_norm", "local_response_norm", "rms_norm", "softmax", "log_softmax", "normalize")


@dataclass(frozen=True)
class Traced:
    """A part of the model whose graph is known.

    ``names`` are the modules' in the whole model, ``seen`` what a forward called of them, ``whole`` says why a
    module's channels can't be cut and ``altered`` whether somebody's hooks hear of its calls, by such a name.
    """

    part: str
    module: nn.Module
    graph: fx.Graph
    names: Mapping[nn.Module, str]
    seen: Mapping[str, Called]
    whole: Callable[[str], str | None]
    altered: Callable[[str], bool]

    def entering(self) -> Outside:
        """What the graph's inputs are."""
        return Outside(f"what enters '{self.part}'" if self.part else "the network's input")

    def leaving(self) -> str:
        """Why what the graph gives back is closed."""
        return f"it leaves '{self.part}', the part that can be traced" if self.part else "the network gives it back"


@dataclass
class Walk:
    """The values of all nodes, once `run` has been through them."""

    traced: Traced
    values: dict[fx.Node, Any] = field(default_factory=dict)
    _groups: dict[str, Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._modules = dict(self.traced.module.named_modules(remove_duplicate=False))
        called = (self.layer(node) for node in self.traced.graph.nodes)
        self._order = {name: place for place, name in enumerate(dict.fromkeys(called)) if name is not None}

    def run(self) -> None:
        """Go through all nodes."""
        for node in self.traced.graph.nodes:
            found = self.values[node] = self._value(node)
            if isinstance(found, Value):
                self._close_in_altered(node, found)
                for group in found.groups():
                    # A producer that is called twice writes the same channels both times.
                    self._groups.setdefault(group.producers[0].name, group).tie(group)

    def streams(self) -> list[Stream]:
        """The streams that begin in this graph, in the order of their first producers."""
        return [self.stream(root) for root in dict.fromkeys(group.root() for group in self._groups.values())]

    def stream(self, group: Group) -> Stream:
        """The group's as plain data."""
        return group.stream(self._order)

    def layer(self, node: fx.Node) -> str | None:
        """The name of the module that the node calls, or whose parameters a function of the node uses for it."""
        module = self._called(node)
        return None if module is None else self.traced.names[module]

    def words(self, node: fx.Node) -> str:
        """What people call it: the module in quotes, or the function."""
        name = self.layer(node)
        return f"'{name}'" if name is not None else _operation(node)

    def _called(self, node: fx.Node) -> nn.Module | None:
        if node.op == "call_module":
            return self._modules[str(node.target)]
        if node.op == "call_function" and node.target in _FUNCTIONAL:
            kind, _, attributes = _FUNCTIONAL[node.target]
            return self._owner(node, kind, attributes)
        return None

    def _owner(self, node: fx.Node, kind: type[nn.Module], attributes: tuple[str, ...]) -> nn.Module | None:
        """The module of this kind whose own parameters are all that the function reads beside one value."""
        read = [str(one.target).rpartition(".") for one in node.all_input_nodes if one.op == "get_attr"]
        owners = {path for path, _, _ in read}
        alone = len(owners) == 1 and len(node.all_input_nodes) == len(read) + 1
        module = self._modules.get(owners.pop()) if alone else None
        known = {"weight", *attributes} >= {attribute for _, _, attribute in read}
        return module if known and isinstance(module, kind) else None

    def _value(self, node: fx.Node) -> Any:
        given = fx.node.map_arg((node.args, node.kwargs), lambda one: self.values[one])
        try:
            return self._result(node, *given)
        except NotUnderstood as lost:
            for one in leaves(given):
                value = one.counted() if isinstance(one, Shape | Dim) else one
                if isinstance(value, Value):
                    value.close(str(lost))
            return Outside(f"what {_operation(node)} gives")

    def _result(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "placeholder":
            return self.traced.entering()
        if node.op == "get_attr":
            return self._constant(node)
        if node.op == "output":
            raise NotUnderstood(self.traced.leaving())
        if node.op == "call_module":
            return through(self._layer(node), args, kwargs)
        if self._called(node) is not None:
            return _FUNCTIONAL[node.target][1](self._layer(node), args[0] if args else kwargs["input"])
        rule = rule_of(node.target)
        if rule is None:
            raise NotUnderstood(_unknown(_operation(node)))
        try:
            return rule(*args, **kwargs)
        except (TypeError, IndexError, ValueError) as error:
            raise NotUnderstood(f"{_operation(node)} is called in a way that can't be followed") from error

    def _layer(self, node: fx.Node) -> Layer:
        module = self._called(node)
        assert module is not None
        name, traced = self.traced.names[module], self.traced
        return Layer(name, module, traced.seen.get(name, NEVER).wrote, traced.whole(name), traced.altered(name))

    def _constant(self, node: fx.Node) -> Outside | None:
        """One number acts on all channels alike, any other tensor has entries of its own for them."""
        found: Any = self.traced.module
        for step in str(node.target).split("."):
            found = getattr(found, step)
        if found.numel() == 1:
            return None
        made = str(node.target).startswith("_tensor_constant")
        return Outside("a tensor that the forward makes" if made else f"the tensor '{node.target}' of the network")

    def _close_in_altered(self, node: fx.Node, value: Value) -> None:
        """Hooks on a module that is no leaf may hear of anything inside of it."""
        for path, *_ in node.meta.get("nn_module_stack", {}).values():
            module = self._modules.get(path)
            if module is not None and self.traced.altered(self.traced.names[module]):
                value.close(
                    f"'{self.traced.names[module]}' carries hooks or a forward of its own, which may rely on its shape"
                )


def _unknown(operation: str) -> str:
    if operation in _SPLITS:
        return "it is split into several parts"
    if operation in _MIXING:
        return f"{operation} normalises several channels together"
    return f"{operation} reads it, and what that does to channels is not known"


def _operation(node: fx.Node) -> str:
    return str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


_FUNCTIONAL: dict[Any, tuple[type[nn.Module], Callable[[Layer, Any], Any], tuple[str, ...]]] = {
    F.batch_norm: (_BatchNorm, normed, ("bias", "running_mean", "running_var")),
    F.linear: (nn.Linear, linear, ("bias",)),
}
