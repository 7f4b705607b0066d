"""Layers that mix channels, all as convolutions on maps: a linear layer is a 1×1 convolution of a 1×1 map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.survey.sources import plainly

__all__ = ["as_conv", "as_map"]


def as_conv(module: nn.Module) -> tuple[Any, ConvShape]:
    """The layer, or the plain convolution that it computes, and its shape."""
    if isinstance(module, nn.Linear):
        one = (1, 1)
        shape = ConvShape(
            in_channels=module.in_features,
            out_channels=module.out_features,
            kernel=one,
            stride=one,
            padding=(0, 0),
            dilation=one,
            bias=module.bias is not None,
        )
        return module, shape
    conv = plainly(module)
    return conv, conv_shape(conv)


def as_map(values: Tensor) -> Tensor:
    """Rows [N, C] as maps [N, C, 1, 1]; maps as they are."""
    return values[:, :, None, None] if values.dim() == 2 else values
