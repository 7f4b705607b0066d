"""Layers that mix channels, all as convolutions on maps: a linear layer is a 1×1 convolution of a 1×1 map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.survey.linears import linear_shape
from convsurgeon.survey.sources import plainly

__all__ = ["as_conv", "as_map"]


def as_conv(module: nn.Module) -> tuple[Any, ConvShape]:
    """The layer, or the plain convolution that it computes, and its shape."""
    if isinstance(module, nn.Linear):
        return module, linear_shape(module.in_features, module.out_features, bias=module.bias is not None)
    conv = plainly(module)
    return conv, conv_shape(conv)


def as_map(layer: nn.Module, values: Tensor) -> Tensor:
    """What a layer reads or writes, with the channels on axis 1.

    A linear layer's rows [N, …, C] become maps [N, C, P, 1], P being the rows of each N; a convolution's maps stay.
    """
    if not isinstance(layer, nn.Linear) or values.dim() < 2:
        return values
    return values.flatten(1, -2).mT[..., None] if values.dim() > 2 else values[..., None, None]
