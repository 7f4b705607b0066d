"""The order in which weights are stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["stored_as"]


def stored_as(weight: Tensor, module: nn.Module) -> nn.Module:
    """The module, its weights stored with the channels last where ``weight`` is.

    Told by the strides: a 1×1 weight is contiguous in either order, and one that is stored in the usual order must not
    turn everything behind it.
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.dim())
    if last is None or weight.stride() == torch.empty(weight.shape, device="meta").stride():
        return module
    return module.to(memory_format=last) if weight.is_contiguous(memory_format=last) else module
