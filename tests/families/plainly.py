"""Convolution spelled out: one input channel and one output channel at a time, padding done by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsurgeon import ConvShape

_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def paddings(conv: nn.Conv2d) -> list[tuple[int, int]]:
    """Zeros (or copies) before and after, for each spatial axis."""
    if conv.padding == "valid":
        return [(0, 0), (0, 0)]
    if conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [(int(p), int(p)) for p in conv.padding]


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """What ``conv`` computes on x [N, C_in, H, W], channel by channel."""
    (top, bottom), (left, right) = paddings(conv)
    padded = F.pad(x, (left, right, top, bottom), mode=_PAD_MODES[conv.padding_mode])
    per_group_in, per_group_out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    outputs = []
    for o in range(conv.out_channels):
        total = 0
        for i in range(per_group_in):
            source = (o // per_group_out) * per_group_in + i
            kernel = conv.weight[o : o + 1, i : i + 1]
            total = total + F.conv2d(padded[:, source : source + 1], kernel, stride=conv.stride, dilation=conv.dilation)
        outputs.append(total if conv.bias is None else total + conv.bias[o])
    return torch.cat(outputs, dim=1)


def conv(shape: ConvShape) -> nn.Conv2d:
    """The plain convolution that a shape describes."""
    return nn.Conv2d(
        shape.in_channels,
        shape.out_channels,
        shape.kernel,
        stride=shape.stride,
        padding=shape.padding,
        dilation=shape.dilation,
        groups=shape.groups,
        bias=shape.bias,
        padding_mode=shape.padding_mode,
    )


def shape(
    c_in: int,
    c_out: int,
    kernel: int | tuple[int, int] = 3,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str | None = None,
    dilation: int | tuple[int, int] = 1,
    bias: bool = False,
    padding_mode: str = "zeros",
) -> ConvShape:
    """A ConvShape in the words of nn.Conv2d; the padding keeps the map's size unless given."""
    two = [(v, v) if isinstance(v, int) else v for v in (kernel, stride, dilation)]
    if padding is None:
        padding = tuple(d * (k - 1) // 2 for k, d in zip(two[0], two[2], strict=True))
    return ConvShape(
        in_channels=c_in,
        out_channels=c_out,
        kernel=two[0],
        stride=two[1],
        padding=(padding, padding) if isinstance(padding, int) else padding,
        dilation=two[2],
        padding_mode=padding_mode,
        bias=bias,
    )


SPATIAL_CASES = {
    "plain": {},
    "bias": {"bias": True},
    "stride": {"stride": 2},
    "no padding": {"padding": 0, "stride": (1, 2)},
    "wide padding": {"padding": 3},
    "dilation": {"dilation": 2},
    "same": {"padding": "same"},
    "valid": {"padding": "valid"},
    "reflect": {"padding_mode": "reflect", "bias": True},
    "replicate": {"padding_mode": "replicate", "stride": 2},
    "circular": {"padding_mode": "circular"},
    "even kernel": {"kernel": 4, "padding": 1},
    "even kernel, same": {"kernel": (2, 4), "padding": "same"},
    "asymmetric": {"kernel": (1, 5), "stride": (2, 1)},
    "5×5, stride 3": {"kernel": 5, "stride": 3},
    "1×1": {"kernel": 1},
    "1×1, stride": {"kernel": 1, "stride": 2, "bias": True},
}
