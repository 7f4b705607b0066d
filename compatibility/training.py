"""One training step, backwards: which parameters get a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compatibility.stages import Wrong
from compatibility.witness import call

__all__ = ["TRAINING_BATCH", "graded", "step"]

TRAINING_BATCH = 2  # a batch norm in train mode needs two values, also where a map is one pixel


def step(model: nn.Module, inputs: Any) -> None:
    """Forward in train mode and backward from the sum of everything differentiable that comes out; ``model`` changes.

    Raises:
        Wrong: nothing that comes out can be differentiated.
    """
    model.train()
    with torch.enable_grad():
        losses = [
            leaf.float().sum()
            for leaf in tree_leaves(call(model, inputs))
            if isinstance(leaf, Tensor) and leaf.requires_grad
        ]
        if not losses:
            raise Wrong("nothing in the output can be differentiated")
        torch.stack(losses).sum().backward()


def graded(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that got a gradient."""
    return frozenset(name for name, parameter in model.named_parameters() if parameter.grad is not None)
