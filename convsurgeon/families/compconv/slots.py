"""What all forms of a CompConv unit need: its slots, its copies, its scale and shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.families.compconv.unit import CompConv
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.forms.kernels import kernel_of
from convsurgeon.families.forms.pieces import Gather, Rescale, Slice
from convsurgeon.families.torch_convs import Conv, in_numbers

__all__ = [
    "affine",
    "compconv",
    "conv_of",
    "copies_at",
    "is_pointwise",
    "last_width",
    "picked",
    "plain",
    "reading",
    "slot_order",
]


def plain(unit: CompConv) -> bool:
    """Torch's own convolutions only, and copies that are plain subsamples of the input."""
    parts = [unit.primary, *unit.levels, *([] if unit.tail is None else [unit.tail])]
    if any(type(part) not in PLAIN_CONVS for part in parts):
        return False
    shape = unit.shape
    reach = [d * (k - 1) for d, k in zip(shape.dilation, shape.kernel, strict=True)]
    return not unit.levels or in_numbers(shape) == tuple(r / 2 for r in reach)


def is_pointwise(unit: CompConv) -> bool:
    """Every kernel is 1×1 and nothing is padded."""
    return {*unit.shape.kernel, *unit.spec.tail_kernel} == {1} and set(conv_of(unit.primary).padding) == {0}


def slot_order(unit: CompConv) -> Tensor:
    """The unit's output channel in each slot."""
    return unit.output_order.argsort()


def last_width(unit: CompConv) -> int:
    """Channels of B_0."""
    return unit.spec.primary_channels * 2 ** (unit.spec.depth - 1)


def affine(unit: CompConv, scale: Tensor, shift: Tensor) -> Rescale | None:
    """Scale and shift [C]; None where they do nothing."""
    if bool((scale == 1).all() and (shift == 0).all()):
        return None
    return Rescale(scale, shift, conv_of(unit.primary).weight, len(unit.kernel_size))


def reading(conv: Conv, reads: Tensor) -> Conv:
    """A dense convolution whose input channel c arrives at ``reads[c]``."""
    return convolution(conv, kernel_of(conv)[:, reads.argsort()], conv.bias)


def copies_at(unit: CompConv, reads: Tensor) -> list[nn.Module]:
    """A_{d−1}, …, A_1, read off the input."""
    places = reads[unit.identity_index]
    widths = [width // 2 for width in unit.spec.level_channels()]
    return [picked(part, unit.shape.stride) for part in torch.split(places, widths)] if widths else []


def picked(places: Tensor, step: tuple[int, ...]) -> nn.Module:
    """Some channels of the input, subsampled: a view where they stand side by side."""
    first = int(places[0])
    if torch.equal(places, torch.arange(first, first + len(places), device=places.device)):
        return Slice(first, len(places), step)
    gather = Gather(places)
    return gather if set(step) == {1} else nn.Sequential(Slice(0, int(places.max()) + 1, step), gather)


def compconv(absorbed: Absorbed) -> CompConv:
    """The unit that was absorbed into."""
    if not isinstance(absorbed.unit, CompConv):
        raise TypeError(f"{type(absorbed.unit).__name__} is no CompConv unit")
    return absorbed.unit


def conv_of(module: nn.Module) -> Conv:
    """A part as the convolution that it is."""
    if not isinstance(module, PLAIN_CONVS):
        raise TypeError(f"{type(module).__name__} is no convolution")
    return module
