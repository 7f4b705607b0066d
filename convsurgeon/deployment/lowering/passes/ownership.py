"""Which tensors of a graph may be overwritten once their last reader is done: those that share memory with no other."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from convsurgeon.deployment.lowering.graph import first_argument, module_of
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS
from convsurgeon.families.forms.pieces import Onto

__all__ = ["owns_its_memory"]

# What writes a tensor of its own, or, as `Onto`, one that nobody else needs; subclasses may do anything.
_FRESH_MODULES = (*PLAIN_CONVS, Absorbed, Onto, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Linear, nn.ReLU)
_FRESH_FUNCTIONS: set[Any] = {operator.add, torch.add, torch.cat, torch.relu, F.relu, F.batch_norm}
_OVERWRITING_FUNCTIONS: set[Any] = {operator.iadd, torch.relu_}


def owns_its_memory(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a tensor shares its memory with no other that may still be read."""
    module, source = module_of(traced, node), first_argument(node)
    if _overwrites(node, module):
        return isinstance(source, fx.Node) and len(source.users) == 1 and owns_its_memory(traced, source)
    if module is not None:
        return type(module) in _FRESH_MODULES
    return node.op == "call_function" and node.target in _FRESH_FUNCTIONS and "out" not in node.kwargs


def _overwrites(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node gives back its first argument, changed."""
    if module is not None:
        return isinstance(module, nn.ReLU) and module.inplace
    if node.op == "call_method":
        return node.target in ("add_", "relu_")
    # Tracing names the argument, however it was given.
    told = node.target is F.relu and bool(node.kwargs.get("inplace"))
    return node.op == "call_function" and (told or node.target in _OVERWRITING_FUNCTIONS)
