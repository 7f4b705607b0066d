"""What an fx graph tells about each convolution: where it stands between inputs, norms, activations and joins.

The graph is only read. What no trace covers, of the whole or of parts, simply has no role.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from convsurgeon.survey.graph import TRACED_CONVS, conv_graphs

__all__ = ["Role", "TracedBy", "norms_behind", "read_roles", "roles_in"]

TracedBy = Literal["fx", "parts", "hooks"]

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU, nn.PReLU)
_ADDITIONS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class Role:
    """Where a convolution stands in its graph.

    ``first``: no convolution comes before it. ``shortcut``: a 1×1 convolution that reaches an addition through
    norms only, where the other side passes through two or more convolutions of the same input.
    ``norm`` and ``activation`` name the modules right behind it, as the whole model does.
    """

    traced_by: TracedBy
    first: bool = False
    shortcut: bool = False
    norm: str | None = None
    activation: str | None = None


def read_roles(model: nn.Module) -> dict[str, Role]:
    """Roles by qualified name (a module's first one), for every convolution that some trace reaches."""
    return roles_in(model, conv_graphs(model))


def roles_in(model: nn.Module, graphs: Mapping[str, fx.Graph]) -> dict[str, Role]:
    """As `read_roles`, from the graphs of the model's parts."""
    roles: dict[str, Role] = {}
    names = {module: name for name, module in model.named_modules()}
    for part, graph in graphs.items():
        reader = _GraphReader(model.get_submodule(part), graph, names)
        for node in graph.nodes:
            if reader.is_conv(node) and (name := reader.name(node)) is not None:
                roles.setdefault(name, reader.role(node, "parts" if part else "fx"))
    return roles


def norms_behind(model: nn.Module) -> dict[str, str]:
    """The name of the norm right behind each convolution that has one, by the convolution's name."""
    return {name: role.norm for name, role in read_roles(model).items() if role.norm is not None}


class _GraphReader:
    """Answers questions about one traced module; ancestor sets are bit masks over the node order.

    ``names`` are the modules' in the whole model: a part's own graph names its modules from the part on.
    """

    def __init__(self, module: nn.Module, graph: fx.Graph, names: Mapping[nn.Module, str]) -> None:
        self.names = names
        self.modules = dict(module.named_modules(remove_duplicate=False))
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.nodes = list(graph.nodes)
        self.upstream: dict[fx.Node, int] = {}
        for node in graph.nodes:
            mask = 1 << self.position[node]
            for source in node.all_input_nodes:
                mask |= self.upstream[source]
            self.upstream[node] = mask
        self.convs = sum(1 << self.position[n] for n in graph.nodes if self.is_conv(n))

    def is_conv(self, node: fx.Node) -> bool:
        return isinstance(self._module(node), TRACED_CONVS)

    def role(self, node: fx.Node, traced_by: TracedBy) -> Role:
        before = self.upstream[node] & self.convs & ~(1 << self.position[node])
        norm = self._next_module(node, _NORMS)
        activation = self._next_module(norm or node, _ACTIVATIONS)
        return Role(
            traced_by=traced_by,
            first=before == 0,
            shortcut=self._is_shortcut(node),
            norm=self.name(norm),
            activation=self.name(activation),
        )

    def name(self, node: fx.Node | None) -> str | None:
        """What the whole model calls the node's module."""
        module = None if node is None else self._module(node)
        return None if module is None else self.names.get(module)

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def _next_module(self, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> fx.Node | None:
        """The only user of the node, if it is a module of one of the kinds."""
        users = list(node.users)
        return users[0] if len(users) == 1 and isinstance(self._module(users[0]), kinds) else None

    def _is_shortcut(self, node: fx.Node) -> bool:
        module = self._module(node)
        if not isinstance(module, TRACED_CONVS) or set(module.kernel_size) != {1}:
            return False
        end = node
        while (following := self._next_module(end, (*_NORMS, nn.Identity, nn.Dropout))) is not None:
            end = following
        joins = [user for user in end.users if user.op == "call_function" and user.target in _ADDITIONS]
        if len(end.users) != 1 or not joins:
            return False
        source = node.all_input_nodes[0]
        return any(self._convs_between(source, other) >= 2 for other in joins[0].all_input_nodes if other is not end)

    def _convs_between(self, source: fx.Node, target: fx.Node) -> int:
        """Convolutions on the paths from ``source`` to ``target``."""
        bit = 1 << self.position[source]
        on_path = self.upstream[target] & self.convs & ~self.upstream[source]
        return sum(1 for i, node in enumerate(self.nodes) if on_path >> i & 1 and self.upstream[node] & bit)
