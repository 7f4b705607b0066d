"""Small nets for 14×14 grey images, in which the convolutions behind the stem are made by whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.families.compconv.spec import CompConvMethod
from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.torch_convs import conv_like

__all__ = ["Ghost", "Unit", "compconv", "cost", "ghost", "grouped", "igc", "plain", "stack"]

Unit = Callable[[ConvShape], nn.Module]


def stack(widths: Sequence[int], strides: Sequence[int], unit: Unit) -> nn.Sequential:
    """[N, 1, 14, 14] → [N, 10]: a stem of stride 2, then a 3×3 for every further width, each with norm and ReLU."""
    shapes = [_shape(a, b, 3, stride) for (a, b), stride in zip(pairwise(widths), strides, strict=True)]
    layers = _with_norm(plain(_shape(1, widths[0], 3, 2)), widths[0])
    for shape in shapes:
        layers += _with_norm(unit(shape), shape.out_channels)
    return nn.Sequential(*layers, *_head(widths[-1]))


def bottlenecks(widths: Sequence[int], strides: Sequence[int], unit: Unit) -> nn.Sequential:
    """[N, 1, 14, 14] → [N, 10]: a stem, then for every further width a 3×3 that keeps the width, and a 1×1."""
    layers = _with_norm(plain(_shape(1, widths[0], 3, 2)), widths[0])
    for (a, b), stride in zip(pairwise(widths), strides, strict=True):
        layers += [*_with_norm(unit(_shape(a, a, 3, stride)), a), *_with_norm(plain(_shape(a, b, 1, 1)), b)]
    return nn.Sequential(*layers, *_head(widths[-1]))


def positions(strides: Sequence[int]) -> list[int]:
    """Positions on the map behind each 3×3."""
    sizes = accumulate(strides, lambda size, stride: -(-size // stride), initial=7)
    return [size * size for size in sizes][1:]


def cost(net: nn.Module) -> Cost:
    """MACs of one image, and parameters."""
    return convsurgeon.count(net, torch.zeros(1, 1, 14, 14))


def plain(shape: ConvShape) -> nn.Module:
    """The dense convolution."""
    return conv_like(shape, shape.in_channels, shape.out_channels)


def grouped(groups: int) -> Unit:
    """The same number of groups everywhere, each with a channel shuffle behind it, or they would never meet."""
    return lambda shape: nn.Sequential(
        conv_like(shape, shape.in_channels, shape.out_channels, groups=groups), nn.ChannelShuffle(groups)
    )


def igc(partitions: int, width: int) -> Unit:
    """Strict IGC units: L partitions of ``width`` M channels, then M partitions of L."""
    spec = IGCSpec(primary_groups=partitions, secondary_groups=width, mid_channels=partitions * width)
    return spec.build


def compconv(c0: int) -> Unit:
    """CompConv whose depth follows C_in / C_0."""
    return lambda shape: _only(CompConvMethod(c0=c0), shape)


def ghost(ratio: float) -> Unit:
    """Ghost modules with C_out / ``ratio`` primary channels."""
    return lambda shape: Ghost(shape, min(shape.out_channels, max(1, round(shape.out_channels / ratio))))


class Ghost(nn.Module):
    """Han et al., CVPR 2020, arXiv 1911.11907: ``primary`` channels, the others by one depthwise 3×3 of one of them.

    The ratio s = C_out / primary need not be whole: primary channels are read in turn.
    """

    def __init__(self, shape: ConvShape, primary: int) -> None:
        super().__init__()
        cheap = shape.out_channels - primary
        self.primary = conv_like(shape, shape.in_channels, primary)
        self.cheap = nn.Conv2d(cheap, cheap, 3, padding=1, groups=cheap, bias=False) if cheap else None
        self.read: Tensor
        self.register_buffer("read", torch.arange(cheap) % primary)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        primary: Tensor = self.primary(x)
        return primary if self.cheap is None else torch.cat([primary, self.cheap(primary[:, self.read])], dim=1)


def _only(method: CompConvMethod, shape: ConvShape) -> nn.Module:
    specs = method.specs(shape, (1, 1))
    assert isinstance(specs, tuple), specs
    return specs[0].build(shape)


def _shape(in_channels: int, out_channels: int, kernel: int, stride: int) -> ConvShape:
    return ConvShape(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
    )


def _with_norm(conv: nn.Module, channels: int) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
