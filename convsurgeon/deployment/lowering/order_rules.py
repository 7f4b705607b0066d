"""What each operation of a graph does to the order of channels.

Through a batch norm, an activation or a pooling the order is the same on both sides; an addition joins the orders of
its inputs. A plain convolution or a linear layer takes any order in, by its weights, and a convolution gives any order
out. Whatever is not known to be so keeps its order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from convsurgeon.deployment.lowering.graph import called_once, first_argument, module_of
from convsurgeon.deployment.lowering.orders import Orders
from convsurgeon.deployment.lowering.reordered import conv_reading, conv_writing, linear_reading, norm_in
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, depthwise

__all__ = ["read_orders"]

_SAME_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.GELU, nn.Mish, nn.Softplus),
    *(nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Identity, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d),
    *(nn.Upsample, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
_SAME_FUNCTIONS: set[Any] = {
    *(F.relu, F.relu_, torch.relu, torch.relu_, F.relu6, F.leaky_relu, F.elu, F.silu, F.gelu, F.mish, F.hardswish),
    *(F.hardsigmoid, F.sigmoid, torch.sigmoid, F.tanh, torch.tanh, F.dropout, F.dropout2d, F.interpolate),
    *(F.avg_pool2d, F.max_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d),
}
_SAME_METHODS = {"relu", "relu_", "sigmoid", "tanh", "contiguous", "clone", "detach"}
_JOINS: set[Any] = {
    *(operator.add, operator.iadd, torch.add, operator.mul, operator.imul, torch.mul, operator.sub, torch.sub),
}
_JOIN_METHODS = {"add", "add_", "mul", "mul_"}


def read_orders(traced: fx.GraphModule, shapes: Mapping[fx.Node, tuple[int, ...]]) -> Orders:
    """The classes of a graph whose shapes are known from a run."""
    orders, once = Orders(shapes), called_once(traced)
    for node in traced.graph.nodes:
        rule = (
            _rule_for_module(traced, node, once, orders.shape(node))
            if node.op == "call_module"
            else _rule_for_call(node)
        )
        rule(orders, node)
    return orders


Rule = Callable[[Orders, fx.Node], None]


def _keeps(orders: Orders, node: fx.Node) -> None:
    """Nothing is known: inputs and output keep their order."""
    orders.bind(node, *node.all_input_nodes)


def _rule_for_module(traced: fx.GraphModule, node: fx.Node, once: set[fx.Node], shape: tuple[int, ...]) -> Rule:
    module, source = module_of(traced, node), first_argument(node)
    if len(node.all_input_nodes) != 1 or not isinstance(source, fx.Node):
        return _keeps
    if type(module) in _SAME_MODULES:
        return _same
    if node not in once:
        return _keeps
    if isinstance(module, Absorbed):
        return _unit if len(shape) == len(module.unit.kernel_size) + 2 else _keeps
    if type(module) in PLAIN_CONVS:
        return _conv_rule(module, len(shape))  # type: ignore[arg-type]
    if isinstance(module, (_BatchNorm, FrozenBatchNorm2d)):
        return _norm
    if type(module) is nn.Linear:
        return _linear
    return _flatten if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1) else _keeps


def _rule_for_call(node: fx.Node) -> Rule:
    method = node.op == "call_method"
    if node.op not in ("call_function", "call_method"):
        return _keeps
    if node.target in (_SAME_METHODS if method else _SAME_FUNCTIONS):
        return _same
    if node.target in (_JOIN_METHODS if method else _JOINS):
        return _joined
    if node.target in ({"mean"} if method else {torch.mean}):
        return _mean
    if node.target in ({"flatten"} if method else {torch.flatten}) and node.args[1:] == (1,):
        return _flatten
    return _keeps


def _same(orders: Orders, node: fx.Node) -> None:
    source = first_argument(node)
    if len(node.all_input_nodes) != 1 or orders.shape(node)[:2] != orders.shape(source)[:2]:
        return _keeps(orders, node)
    return orders.join(source, node, orders.of(source).channels)


def _joined(orders: Orders, node: fx.Node) -> None:
    """Element by element; an input with one channel is spread over all."""
    shape = orders.shape(node)
    for source in node.all_input_nodes:
        other = orders.shape(source)
        if len(other) != len(shape) or len(shape) < 3:
            return _keeps(orders, node)
    for source in node.all_input_nodes:
        if orders.shape(source)[1] == shape[1]:
            orders.join(source, node)
        else:
            orders.bind(source)
    return None


def _mean(orders: Orders, node: fx.Node) -> None:
    source, arguments = first_argument(node), [*node.args[1:], *node.kwargs.values()]
    axes = arguments[0] if arguments else None
    rank = len(orders.shape(source))
    if not isinstance(axes, (list, tuple)) or rank < 3 or not {int(a) % rank for a in axes} <= set(range(2, rank)):
        return _keeps(orders, node)
    return orders.join(source, node, orders.of(source).channels)


def _flatten(orders: Orders, node: fx.Node) -> None:
    orders.join(first_argument(node), node, orders.of(first_argument(node)).channels)


def _linear(orders: Orders, node: fx.Node) -> None:
    source = first_argument(node)
    orders.bind(node)
    if len(orders.shape(source)) != 2:
        return orders.bind(source)
    return orders.follow(source, node, linear_reading)


def _norm(orders: Orders, node: fx.Node) -> None:
    source = first_argument(node)
    if orders.of(source).channels != orders.shape(node)[1]:
        return _keeps(orders, node)
    orders.join(source, node, orders.of(source).channels)
    return orders.follow(node, node, norm_in)


def _unit(orders: Orders, node: fx.Node) -> None:
    orders.follow(first_argument(node), node, lambda unit, order: unit.reading(order))  # type: ignore[operator]
    orders.follow(node, node, lambda unit, order: unit.writing(order))  # type: ignore[operator]


def _conv_rule(conv: nn.Module, axes: int) -> Rule:
    """Convolutions also take one image without a batch axis; there the channels stand elsewhere."""
    if not isinstance(conv, PLAIN_CONVS) or conv.weight.dim() != axes:
        return _keeps
    if conv.groups == 1:
        return _dense_conv
    return _depthwise_conv if depthwise(conv) else _keeps


def _dense_conv(orders: Orders, node: fx.Node) -> None:
    orders.follow(first_argument(node), node, conv_reading)
    orders.follow(node, node, conv_writing)


def _depthwise_conv(orders: Orders, node: fx.Node) -> None:
    orders.join(first_argument(node), node)
    orders.follow(node, node, conv_writing)
