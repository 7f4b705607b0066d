"""Plain convolutions built from weights that were composed in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.families.torch_convs import Conv

__all__ = ["PLAIN_CONVS", "convolution", "depthwise", "scaled"]

PLAIN_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def convolution(
    like: Conv,
    weight: Tensor,
    bias: Tensor | None,
    *,
    groups: int = 1,
    pointwise: bool = False,
    stride: tuple[int, ...] | None = None,
) -> Conv:
    """A convolution with these weights [C_out, C_in / groups, …], and everything else as ``like`` has it.

    ``pointwise``: padding and dilation of a 1×1 convolution instead, and ``stride`` (1 if not given). Dtype and
    device are those of ``like``.
    """
    kind = next(k for k in PLAIN_CONVS if isinstance(like, k))
    with torch.device("meta"):
        new = kind(
            weight.shape[1] * groups,
            weight.shape[0],
            weight.shape[2:],  # type: ignore[arg-type]
            stride=(stride or 1) if pointwise else like.stride,  # type: ignore[arg-type]
            padding=0 if pointwise else like.padding,  # type: ignore[arg-type]
            dilation=1 if pointwise else like.dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=bias is not None,
            padding_mode="zeros" if pointwise else like.padding_mode,
        )
    # Contiguous, because weights composed from views carry strides that kernels do not like.
    new.weight = nn.Parameter(weight.detach().to(like.weight).contiguous(), requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().to(like.weight).contiguous(), requires_grad=False)
    return new.eval()


def scaled(conv: Conv, scale: Tensor, shift: Tensor) -> Conv:
    """The convolution followed by y · scale + shift, both [C_out]."""
    weight = conv.weight.detach().double() * _over(scale.double(), conv.weight.dim())
    bias = shift.double() if conv.bias is None else conv.bias.detach().double() * scale.double() + shift.double()
    return convolution(conv, weight, bias, groups=conv.groups)


def depthwise(conv: Conv) -> bool:
    """One input channel for each output channel."""
    return conv.groups == conv.in_channels == conv.out_channels


def _over(channels: Tensor, axes: int) -> Tensor:
    return channels.view(-1, *(1,) * (axes - 1))
