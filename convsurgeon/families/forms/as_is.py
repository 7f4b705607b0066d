"""The unit itself, for what no other form knows."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.pieces import Rescale

__all__ = ["as_is"]


def as_is(absorbed: Absorbed) -> Form:
    """Gather, unit, scale and shift, gather; each only where it does something."""
    return Form(
        "the unit as it is",
        _build,
        order=torch.arange(absorbed.unit.out_channels, device=absorbed.reads.device),
        reads=torch.arange(absorbed.unit.in_channels, device=absorbed.reads.device),
    )


def _build(absorbed: Absorbed) -> nn.Module:
    if bool((absorbed.scale == 1).all() and (absorbed.shift == 0).all()):
        return absorbed.unit
    like = next(absorbed.unit.parameters())
    axes = len(absorbed.unit.kernel_size)
    return nn.Sequential(absorbed.unit, Rescale(absorbed.scale, absorbed.shift, like, axes))
