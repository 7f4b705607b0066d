"""One memory format for everything in a network that has one."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from convsurgeon.families.forms.pieces import Gather, Twins

__all__ = ["laid_out"]

M = TypeVar("M", bound=nn.Module)


def laid_out(model: M, layout: torch.memory_format) -> M:
    """The model itself, whose two-dimensional convolutions and pieces now write ``layout``."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)
        elif isinstance(module, (Gather, Twins)):
            module.channels_last = layout == torch.channels_last
    return model
