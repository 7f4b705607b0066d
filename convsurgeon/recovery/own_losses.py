"""A detector's own losses, from images and what is on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs

__all__ = ["Target", "are_targets", "own_losses"]

# What is on one image, as torchvision's detectors take it: boxes [n, 4], labels [n], perhaps masks or keypoints.
Target = Mapping[str, Tensor]


def are_targets(value: object) -> bool:
    """Whether this is a sequence of targets, one for each image."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(target, Mapping) and isinstance(target.get("boxes"), Tensor) for target in value)
    )


def own_losses(model: nn.Module, inputs: Inputs, targets: Sequence[Target]) -> Tensor:
    """The sum of the losses that a detector returns in training mode for a list of images, a scalar.

    Norms, dropout and everything else that holds no other module keep their mode, as they have it in distillation.

    Raises:
        ModelRunError: the model fails on these targets.
        UsageError: it returns no dictionary of losses.
    """
    device = next(model.parameters()).device
    moved = [{key: value.to(device) for key, value in target.items()} for target in targets]
    with _composites_training(model):
        losses = Inputs((*inputs.args, moved), inputs.kwargs).call(model)
    if not isinstance(losses, Mapping) or not all(isinstance(x, Tensor) and x.dim() == 0 for x in losses.values()):
        raise UsageError(
            f"in training mode and with targets the network returns a {type(losses).__name__}; expected a dictionary "
            "of losses, as torchvision's detectors do. Set label_weight to 0."
        )
    return torch.stack([loss.float() for loss in losses.values()]).sum()


@contextmanager
def _composites_training(model: nn.Module) -> Iterator[None]:
    """Training mode in modules that are made of others."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            if next(module.children(), None) is not None:
                module.training = True
        yield
    finally:
        for module, training in flags:
            module.training = training
