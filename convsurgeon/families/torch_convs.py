"""torch's own convolutions, from a ConvShape and back, and those with a padding that torch can't express."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from convsurgeon.families.cost import ConvShape, pads_by_itself

__all__ = [
    "PAD_MODES",
    "Conv",
    "PaddedConv",
    "along_axis",
    "conv_like",
    "conv_shape",
    "in_numbers",
    "padded",
    "plain_conv",
    "pointwise",
    "with_ends",
]

Conv: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def padded(x: Tensor, shape: ConvShape) -> Tensor:
    """``x`` [N, C, H, W] with the shape's padding around it, in its mode; itself where there is none."""
    return with_ends(x, shape.pads(x.shape[2:]), PAD_MODES[shape.padding_mode])


def with_ends(x: Tensor, ends: Sequence[tuple[int, int]], mode: str = "constant") -> Tensor:
    """``x`` [N, C, H, W] with so much before and after each of its spatial axes; a negative number cuts off."""
    pads = [pad for pair in reversed(ends) for pad in pair]
    # What follows the size of a map is no number while a graph is traced, and can't be asked.
    nothing = all(isinstance(pad, int) and not pad for pad in pads)
    return x if nothing else F.pad(x, pads, mode=mode)


class PaddedConv(_ConvNd):
    """A convolution whose padding is uneven or follows the input's size, which torch's own classes can't express."""

    shape: ConvShape

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        x = padded(input, self.shape)
        return self._conv_forward(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's, with the padding."""
        return f"{super().extra_repr()}, ahead={self.shape.padding}"  # type: ignore[no-untyped-call]


class PaddedConv1d(PaddedConv, nn.Conv1d):
    """Over [N, C, L]."""


class PaddedConv2d(PaddedConv, nn.Conv2d):
    """Over [N, C, H, W]."""


class PaddedConv3d(PaddedConv, nn.Conv3d):
    """Over [N, C, D, H, W]."""


_CONV_CLASSES: Mapping[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
_PADDED_CLASSES: Mapping[int, type[PaddedConv1d] | type[PaddedConv2d] | type[PaddedConv3d]] = {
    1: PaddedConv1d,
    2: PaddedConv2d,
    3: PaddedConv3d,
}
_TRANSPOSED_CLASSES: Mapping[int, type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def plain_conv(shape: ConvShape) -> Conv:
    """A freshly initialised convolution of this shape; a `PaddedConv` where torch's classes can't pad so."""
    if shape.output_padding is not None:
        return _transposed(shape)
    ours = pads_by_itself(shape)
    conv_class = (_PADDED_CLASSES if ours else _CONV_CLASSES)[len(shape.kernel)]
    conv = conv_class(
        shape.in_channels,
        shape.out_channels,
        shape.kernel,  # type: ignore[arg-type]
        stride=shape.stride,  # type: ignore[arg-type]
        padding=0 if ours else in_numbers(shape),
        dilation=shape.dilation,  # type: ignore[arg-type]
        groups=shape.groups,
        bias=shape.bias,
        padding_mode="zeros" if ours else shape.padding_mode,
    )
    if isinstance(conv, PaddedConv):
        conv.shape = shape
    return conv


def in_numbers(shape: ConvShape) -> Any:
    """The padding as torch takes it, and in numbers wherever both ends get the same: quantisation takes no words."""
    ends = shape.pads((0,) * len(shape.kernel))
    return tuple(before for before, _ in ends) if all(before == after for before, after in ends) else shape.padding


def _transposed(shape: ConvShape) -> Any:
    """A transposed convolution of this shape."""
    return _TRANSPOSED_CLASSES[len(shape.kernel)](
        shape.in_channels,
        shape.out_channels,
        shape.kernel,  # type: ignore[arg-type]
        stride=shape.stride,  # type: ignore[arg-type]
        padding=shape.padding,  # type: ignore[arg-type]
        output_padding=shape.output_padding,  # type: ignore[arg-type]
        groups=shape.groups,
        bias=shape.bias,
        dilation=shape.dilation,  # type: ignore[arg-type]
    )


def conv_like(
    shape: ConvShape,
    in_channels: int,
    out_channels: int,
    *,
    groups: int = 1,
    bias: bool = False,
    kernel: tuple[int, ...] | None = None,
    strided: bool = True,
) -> Conv:
    """A convolution with the shape's spatial settings and other channels.

    With ``strided=False`` it keeps the size of the map it reads: stride 1 and "same" padding in the
    shape's padding mode. A ``kernel`` of its own comes without dilation.
    """
    own_kernel = kernel if kernel is not None else shape.kernel
    channels = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups, "bias": bias}
    spatial: dict[str, Any] = {"kernel": own_kernel}
    if own_kernel != shape.kernel:
        spatial["dilation"] = (1,) * len(own_kernel)
    if not strided:
        spatial |= {"stride": (1,) * len(own_kernel), "padding": "same"}
    return plain_conv(shape.model_copy(update=channels | spatial))


def pointwise(shape: ConvShape) -> ConvShape:
    """A 1×1 over the same axes."""
    one, none = (1,) * len(shape.kernel), (0,) * len(shape.kernel)
    spatial = {"kernel": one, "stride": one, "dilation": one, "padding": none, "padding_mode": "zeros"}
    return shape.model_copy(update={**spatial, "output_padding": None})


def along_axis(shape: ConvShape, axis: int, in_channels: int, out_channels: int, *, bias: bool = False) -> Conv:
    """A convolution with the shape's kernel, stride, padding and dilation along one axis, and none along the others."""
    others = [other for other in range(len(shape.kernel)) if other != axis]

    def kept(values: tuple[Any, ...], nothing: Any) -> tuple[Any, ...]:
        return tuple(nothing if i in others else value for i, value in enumerate(values))

    uneven = not isinstance(shape.padding, str) and any(isinstance(pad, tuple) for pad in shape.padding)
    return plain_conv(
        shape.model_copy(
            update={
                "in_channels": in_channels,
                "out_channels": out_channels,
                "kernel": kept(shape.kernel, 1),
                "stride": kept(shape.stride, 1),
                "dilation": kept(shape.dilation, 1),
                "padding": shape.padding
                if isinstance(shape.padding, str)
                else kept(shape.padding, (0, 0) if uneven else 0),
                "bias": bias,
            }
        )
    )


def conv_shape(conv: Conv) -> ConvShape:
    """The numbers of a convolution module, as its attributes have them."""
    if isinstance(conv, PaddedConv):
        return conv.shape
    padding = conv.padding if isinstance(conv.padding, str) else tuple(int(p) for p in conv.padding)
    return ConvShape(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel=tuple(conv.kernel_size),
        stride=tuple(conv.stride),
        padding=padding,
        dilation=tuple(conv.dilation),
        groups=conv.groups,
        padding_mode=conv.padding_mode,
        bias=conv.bias is not None,
        output_padding=tuple(conv.output_padding) if isinstance(conv, _ConvTransposeNd) else None,
    )
