"""The same inputs in another batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.machine_memory import require_room

__all__ = ["batch_of", "channels_last", "image_list", "rebatched"]


def batch_of(inputs: Inputs) -> int:
    """The batch size: the images of a list (detectors take one), else the first tensor's first axis.

    Raises:
        UsageError: inputs without a tensor that has axes.
    """
    if (images := image_list(inputs)) is not None:
        return len(images)
    first = next((tensor for tensor in inputs.tensors() if tensor.dim() > 0), None)
    if first is None:
        raise UsageError("the example inputs hold no tensor with a batch axis, so that no batch size can be set.")
    return int(first.shape[0])


def rebatched(inputs: Inputs, batch: int) -> Inputs:
    """Repeat or cut every tensor that has the batch axis (or the list of images) to ``batch``.

    Raises:
        UsageError: fewer than one, or inputs without a batch axis.
    """
    if batch < 1:
        raise UsageError(f"a batch of {batch} can't be run; expected 1 or more.")
    now = batch_of(inputs)
    if batch == now:
        return inputs
    for shape in inputs.shapes():
        require_room((batch, *shape[1:]))
    if (images := image_list(inputs)) is not None:
        return Inputs(args=([images[i % now] for i in range(batch)], *inputs.args[1:]), kwargs=inputs.kwargs)

    def resized(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == now:
            rows = value.index_select(0, torch.arange(batch, device=value.device) % now)
            # Kernels choose by the memory format, which indexing loses.
            return rows.contiguous(memory_format=torch.channels_last) if channels_last(value) else rows
        if isinstance(value, (list, tuple)):
            return type(value)(resized(item) for item in value)
        if isinstance(value, Mapping):
            return {key: resized(item) for key, item in value.items()}
        return value

    return Inputs(args=resized(tuple(inputs.args)), kwargs=resized(dict(inputs.kwargs)))


def channels_last(tensor: torch.Tensor) -> bool:
    """[N, C, H, W] with the channels last in memory, and not in the usual order too (as 1×1 maps are)."""
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def image_list(inputs: Inputs) -> list[torch.Tensor] | None:
    """The list of [C, H, W] images that torchvision's detectors take; None for other inputs."""
    first = inputs.args[0] if inputs.args else None
    if isinstance(first, list) and first and all(isinstance(i, torch.Tensor) and i.dim() == 3 for i in first):
        return first
    return None
