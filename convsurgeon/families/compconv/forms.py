"""Forms of a CompConv unit of any kernel: the tree of convolutions, its parts written in slot order.

The tail's scale and shift go into the tail; what else comes out is scaled on its way into the output.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from convsurgeon.families.compconv.blocked_forms import build_assembled
from convsurgeon.families.compconv.pointwise_forms import pointwise_forms
from convsurgeon.families.compconv.slots import (
    affine,
    compconv,
    conv_of,
    copies_at,
    is_pointwise,
    last_width,
    plain,
    reading,
    slot_order,
)
from convsurgeon.families.compconv.unit import CompConv
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import convolution, scaled
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, kernel_of, over
from convsurgeon.families.forms.pieces import Slice, Tree
from convsurgeon.families.torch_convs import Conv

__all__ = ["forms"]


def forms(absorbed: Absorbed) -> list[Form]:
    """Fewest operations first; none for a unit whose parts are not all torch's own."""
    unit = compconv(absorbed)
    if not plain(unit):
        return []
    if is_pointwise(unit):
        return pointwise_forms(absorbed)
    forms = [Form("convolutions side by side", partial(_build_tree, twins=False), order=slot_order(unit))]
    if unit.tail is not None and all(size % 2 for size in unit.spec.tail_kernel):
        twins = Form("a depthwise tail with multiplier 2", partial(_build_tree, twins=True), order=_twin_order(unit))
        forms.insert(0, twins)
    return [*forms, Form("convolutions in whole blocks, then a 1×1 one", build_assembled)]


def _twin_order(unit: CompConv) -> Tensor:
    """Tail and source by turns, then the sources without a tail, then the other slots."""
    tail, width = unit.tail_channels, last_width(unit)
    pairs = torch.stack((torch.arange(tail), torch.arange(tail) + tail), dim=1).flatten()
    order = torch.cat((pairs, torch.arange(2 * tail, unit.out_channels)))
    if tail > width:
        raise ValueError(f"a tail of {tail} channels reads {width}")
    return slot_order(unit)[order.to(unit.output_order.device)]


def _build_tree(absorbed: Absorbed, twins: bool) -> nn.Module:
    unit = compconv(absorbed)
    order = slot_order(unit)
    scale, shift = absorbed.scale[order], absorbed.shift[order]
    outputs = _last_outputs(unit, scale, shift, twins)
    start = unit.tail_channels + last_width(unit)
    for place, width in enumerate(reversed(unit.spec.level_channels())):
        here = slice(start, start + width)
        outputs.append((2 + place, affine(unit, scale[here], shift[here])))
        start += width
    primary = reading(conv_of(unit.primary), absorbed.reads)
    if not unit.levels and len(outputs) == 1 and outputs[0][1] is not None:
        return nn.Sequential(primary, outputs[0][1])
    levels: list[nn.Module] = [_same(conv_of(level)) for level in unit.levels]
    return Tree(primary, copies_at(unit, absorbed.reads), levels, outputs)


def _last_outputs(unit: CompConv, scale: Tensor, shift: Tensor, twins: bool) -> list[tuple[int, nn.Module | None]]:
    """The tail and the last B."""
    tail, width = unit.tail_channels, last_width(unit)
    first, second = slice(0, tail), slice(tail, tail + width)
    if unit.tail is None:
        return [(1, affine(unit, scale[second], shift[second]))]
    conv = conv_of(unit.tail)
    if not twins:
        transformed = scaled(conv, scale[first], shift[first])
        return [(1, _of_first(tail, width, transformed)), (1, affine(unit, scale[second], shift[second]))]
    both = slice(tail, 2 * tail)
    outputs: list[tuple[int, nn.Module | None]] = [
        (1, _of_first(tail, width, _twin_conv(conv, scale[first], shift[first], scale[both], shift[both])))
    ]
    if tail < width:
        rest = slice(2 * tail, tail + width)
        change = affine(unit, scale[rest], shift[rest])
        part = Slice(tail, width - tail, ())
        outputs.append((1, part if change is None else nn.Sequential(part, change)))
    return outputs


def _twin_conv(conv: Conv, scale: Tensor, shift: Tensor, copy_scale: Tensor, copy_shift: Tensor) -> Conv:
    """A depthwise convolution with two outputs per channel: the tail's, and the channel itself."""
    kernel = kernel_of(conv)
    centre = torch.zeros_like(kernel)
    # All sizes are odd, so the middle of the flattened kernel is the middle of each axis.
    centre.flatten(1)[:, centre[0].numel() // 2] = 1
    axes = kernel.dim()
    pairs = torch.stack((kernel * over(scale, axes), centre * over(copy_scale, axes)), dim=1).flatten(0, 1)
    bias = torch.stack((bias_of(conv) * scale + shift, copy_shift), dim=1).flatten()
    return convolution(conv, pairs, bias, groups=len(kernel))


def _of_first(count: int, width: int, module: nn.Module) -> nn.Module:
    return module if count == width else nn.Sequential(Slice(0, count, ()), module)


def _same(conv: Conv) -> Conv:
    return convolution(conv, conv.weight, conv.bias, groups=conv.groups)
