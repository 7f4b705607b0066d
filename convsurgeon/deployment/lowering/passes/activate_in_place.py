"""ReLU overwrites its input where nobody else reads it: no second tensor, half of the memory traffic.

Requires: eval mode, no gradients. Ensures: the same outputs, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from convsurgeon.deployment.lowering.graph import first_argument, module_of
from convsurgeon.deployment.lowering.passes.ownership import owns_its_memory
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step

__all__ = ["activate_in_place"]

NAME = "activate in place"
_RELUS: set[Any] = {F.relu, torch.relu}


def activate_in_place(traced: fx.GraphModule) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Turn ``relu`` into ``relu_`` behind convolutions, additions, concatenations and the like."""
    new = own_copy(traced)
    steps = []
    for node in new.graph.nodes:
        if _is_relu(new, node) and _read_here_alone(new, first_argument(node)):
            steps.append(Step(pass_name=NAME, where=str(node.name), what="in place"))
            with new.graph.inserting_before(node):
                replacement = new.graph.call_function(torch.relu_, (first_argument(node),))
            node.replace_all_uses_with(replacement)
            new.graph.erase_node(node)
    return finished(new), tuple(steps)


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    module = module_of(traced, node)
    if module is not None:
        return type(module) is nn.ReLU and not module.inplace
    return node.op == "call_function" and node.target in _RELUS


def _read_here_alone(traced: fx.GraphModule, source: object) -> bool:
    return isinstance(source, fx.Node) and len(source.users) == 1 and owns_its_memory(traced, source)
