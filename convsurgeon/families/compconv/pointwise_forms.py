"""Forms of a 1×1 CompConv unit, which is one linear map of the input channels.

Its half of scaled and copied channels can be had by a pass over memory, and all levels together by one 1×1
convolution of B_{d−1} and the copies: more multiplications than the tree, in fewer and wider operations.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from convsurgeon.families.compconv.blocked_forms import build_shared, shared_order, shared_tail
from convsurgeon.families.compconv.slots import (
    affine,
    compconv,
    conv_of,
    copies_at,
    last_width,
    picked,
    slot_order,
)
from convsurgeon.families.compconv.unit import CompConv
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, blocks, kernel_of
from convsurgeon.families.forms.pieces import Rescale, Slice, Tree, Twins
from convsurgeon.families.torch_convs import Conv

__all__ = ["pointwise_forms"]

# Undoing a scale that is this much smaller than the others would cost digits.
SMALLEST_SCALE = 1e-2


def pointwise_forms(absorbed: Absorbed) -> list[Form]:
    """Fewest multiplications first."""
    unit = compconv(absorbed)
    slots, follows = slot_order(unit), _tail_can_follow(absorbed)
    forms = [Form("1×1 convolutions side by side", _build_tree, order=slots)] if follows else []
    if unit.levels:
        forms.append(Form("two 1×1 convolutions, copies beside the first", partial(_build_pair, gather=True)))
        forms.append(Form("two 1×1 convolutions", partial(_build_pair, gather=False)))
        if unit.tail is not None and follows:
            forms.append(Form("a 1×1 convolution for half of the channels", _build_half, order=_half_order(unit)))
    if follows and shared_tail(absorbed):
        name = "1×1 convolutions, the tail by a depthwise one"
        forms.append(Form(name, _build_shared, order=shared_order(absorbed)))
    if not unit.levels and unit.tail_channels == last_width(unit):
        forms.append(Form("a 1×1 convolution, then each channel twice", _build_twins, order=slots))
    return [*forms, Form("one dense 1×1 convolution", _build_dense)]


def _tail_can_follow(absorbed: Absorbed) -> bool:
    """Whether the tail can be computed from a B_0 that is scaled already."""
    unit = compconv(absorbed)
    count = unit.tail_channels
    source = absorbed.scale[slot_order(unit)][count : 2 * count].abs()
    return not count or bool(source.min() > SMALLEST_SCALE * absorbed.scale.abs().max())


def _build_dense(absorbed: Absorbed) -> nn.Module:
    unit = compconv(absorbed)
    matrix, bias = _whole(absorbed)
    rows = unit.output_order[absorbed.writes]
    return _primary_like(unit, matrix[rows], bias[rows])


def _whole(absorbed: Absorbed) -> tuple[Tensor, Tensor]:
    """The unit as a matrix [slots, channels as they arrive] and a bias, with scale and shift."""
    unit = compconv(absorbed)
    exact, eye = _exact(unit, unit.in_channels)
    bias = exact.slots(torch.zeros_like(eye[:1])).flatten()
    matrix = exact.slots(eye).flatten(1).t() - bias[:, None]
    scale, shift = (values[slot_order(unit)] for values in (absorbed.scale, absorbed.shift))
    return (matrix * scale[:, None])[:, absorbed.reads.argsort()], bias * scale + shift


def _exact(unit: CompConv, channels: int) -> tuple[CompConv, Tensor]:
    """The unit in float64, and every unit vector as an image of one pixel."""
    exact = copy.deepcopy(unit).double()
    axes = (1,) * len(unit.kernel_size)
    return exact, torch.eye(channels, dtype=torch.float64, device=unit.output_order.device).view(-1, channels, *axes)


def _build_pair(absorbed: Absorbed, gather: bool) -> nn.Module:
    """A thin convolution to B_{d−1} and the copies, then a 1×1 convolution to all outputs."""
    unit = compconv(absorbed)
    primary = conv_of(unit.primary)
    narrow, taken = unit.spec.primary_channels, unit.spec.identity_channels
    second = _second(absorbed)
    kernel = kernel_of(primary).flatten(1)[:, absorbed.reads.argsort()]
    places = absorbed.reads[unit.identity_index]
    if gather:
        first = _primary_like(unit, kernel, bias_of(primary) if unit.shape.bias else None)
        return nn.Sequential(Tree(first, [], [], [(1, None), (0, picked(places, unit.shape.stride))]), second)
    copied = torch.zeros(taken, unit.in_channels, dtype=torch.float64, device=places.device)
    copied[torch.arange(taken), places] = 1
    bias = torch.cat((bias_of(primary), bias_of(primary).new_zeros(taken))) if unit.shape.bias else None
    if narrow + taken != second.in_channels:
        raise ValueError(f"{narrow} + {taken} channels for a convolution of {second.in_channels}")
    # Zero channels up to a whole block: kernels and runtimes like such widths, and the second ones read nothing there.
    missing = blocks(narrow + taken) - narrow - taken
    rows = torch.cat((kernel, copied, kernel.new_zeros(missing, unit.in_channels)))
    if bias is not None:
        bias = torch.cat((bias, bias.new_zeros(missing)))
    columns = kernel_of(second)
    columns = torch.cat((columns, columns.new_zeros(len(columns), missing, *columns.shape[2:])), dim=1)
    wide = convolution(second, columns, second.bias)
    return nn.Sequential(_primary_like(unit, rows, bias), wide)


def _second(absorbed: Absorbed) -> Conv:
    """All levels, the tail, the shuffle, scale and shift as one 1×1 convolution of B_{d−1} ⊕ A_{d−1} ⊕ … ⊕ A_1."""
    unit = compconv(absorbed)
    widths = [unit.spec.primary_channels, *(width // 2 for width in unit.spec.level_channels())]
    exact, eye = _exact(unit, sum(widths))

    def assembled(x: Tensor) -> Tensor:
        b, *copies = torch.split(x, widths, dim=1)
        return exact.assemble(b, copies)

    with torch.no_grad():
        bias = assembled(torch.zeros_like(eye[:1])).flatten()
        matrix = assembled(eye).flatten(1).t() - bias[:, None]
    rows = unit.output_order[absorbed.writes]
    scale, shift = absorbed.scale[absorbed.writes], absorbed.shift[absorbed.writes]
    primary = conv_of(unit.primary)
    return convolution(
        primary, _kernel(unit, matrix[rows] * scale[:, None]), bias[rows] * scale + shift, pointwise=True
    )


def _half_order(unit: CompConv) -> Tensor:
    """B_0, B_1, …, then the tail, then the copies A_1, A_2, …"""
    tail, start = unit.tail_channels, unit.tail_channels + last_width(unit)
    transformed, copied = [torch.arange(tail, start)], []
    for width in reversed(unit.spec.level_channels()):
        middle = start + width // 2
        copied.append(torch.arange(start, middle))
        transformed.append(torch.arange(middle, start + width))
        start += width
    order = torch.cat((*transformed, torch.arange(tail), *copied))
    return slot_order(unit)[order.to(unit.output_order.device)]


def _build_half(absorbed: Absorbed) -> nn.Module:
    """One convolution to every B; tail and copies scaled in passing."""
    unit = compconv(absorbed)
    order = unit.output_order[_half_order(unit)]
    matrix, bias = _whole(absorbed)
    copied = unit.spec.identity_channels
    transformed = len(order) - copied - unit.tail_channels
    first = _primary_like(unit, matrix[order[:transformed]], bias[order[:transformed]])
    scale, shift = (values[_half_order(unit)] for values in (absorbed.scale, absorbed.shift))
    tail = _tail_of_scaled(absorbed)
    widths = [width // 2 for width in unit.spec.level_channels()]
    # The copies stand deepest first in identity_index and deepest last in the output.
    places = torch.cat(list(reversed(torch.split(absorbed.reads[unit.identity_index], widths))))
    change = affine(unit, scale[-copied:], shift[-copied:])
    copies = picked(places, unit.shape.stride)
    second = copies if change is None else nn.Sequential(copies, change)
    return Tree(first, [], [], [(1, None), (1, nn.Sequential(Slice(0, unit.tail_channels, ()), tail)), (0, second)])


def _build_tree(absorbed: Absorbed) -> nn.Module:
    """Level by level; the last convolution takes its scale and shift in, and the tail follows from that."""
    unit = compconv(absorbed)
    order, tail, width = slot_order(unit), unit.tail_channels, last_width(unit)
    scale, shift = absorbed.scale[order], absorbed.shift[order]
    here = slice(tail, tail + width)
    kernel = kernel_of(conv_of(unit.primary)).flatten(1)[:, absorbed.reads.argsort()]
    convs = [(kernel, bias_of(conv_of(unit.primary)))]
    convs += [(kernel_of(conv_of(level)).flatten(1), bias_of(conv_of(level))) for level in unit.levels]
    matrix, bias = convs[-1]
    convs[-1] = (matrix * scale[here, None], bias * scale[here] + shift[here])
    outputs: list[tuple[int, nn.Module | None]] = [(1, None)]
    if unit.tail is not None:
        outputs.insert(0, (1, nn.Sequential(Slice(0, tail, ()), _tail_of_scaled(absorbed))))
    start = tail + width
    for place, size in enumerate(reversed(unit.spec.level_channels())):
        outputs.append((2 + place, affine(unit, scale[start : start + size], shift[start : start + size])))
        start += size
    primary = _primary_like(unit, *convs[0])
    levels = [
        convolution(conv_of(unit.primary), _kernel(unit, weight), offset, pointwise=True)
        for weight, offset in convs[1:]
    ]
    return Tree(primary, copies_at(unit, absorbed.reads), [*levels], outputs)


def _tail_of_scaled(absorbed: Absorbed) -> Rescale:
    """The tail, scaled, from a B_0 that is scaled already, in one pass."""
    unit = compconv(absorbed)
    return Rescale(*_following(absorbed), conv_of(unit.primary).weight, len(unit.kernel_size))


def _following(absorbed: Absorbed) -> tuple[Tensor, Tensor]:
    """Gain and offset [tail channels] that make the scaled tail from the scaled B_0."""
    unit = compconv(absorbed)
    if unit.tail is None:
        raise ValueError("the unit has no tail")
    tail, order, count = conv_of(unit.tail), slot_order(unit), unit.tail_channels
    scale, shift = absorbed.scale[order], absorbed.shift[order]
    source = slice(count, 2 * count)
    gain = scale[:count] * kernel_of(tail).flatten() / scale[source]
    return gain, scale[:count] * bias_of(tail) + shift[:count] - gain * shift[source]


def _build_shared(absorbed: Absorbed) -> nn.Module:
    """Sources and everything else by dense rows, the tail by a depthwise convolution."""
    return build_shared(absorbed, *_whole(absorbed), *_following(absorbed))


def _build_twins(absorbed: Absorbed) -> nn.Module:
    """Depth 1: the primary convolution, then one pass that writes the tail and the channel itself."""
    unit = compconv(absorbed)
    primary, tail = conv_of(unit.primary), conv_of(unit.tail) if unit.tail is not None else None
    if tail is None:
        raise ValueError("the unit has no tail")
    order, count = slot_order(unit), unit.tail_channels
    scale, shift = absorbed.scale[order].view(2, count), absorbed.shift[order].view(2, count)
    gain = torch.stack((scale[0] * kernel_of(tail).flatten(), scale[1]))
    offset = torch.stack((scale[0] * bias_of(tail), torch.zeros_like(scale[1]))) + shift
    kernel = kernel_of(primary).flatten(1)[:, absorbed.reads.argsort()]
    first = _primary_like(unit, kernel, bias_of(primary) if unit.shape.bias else None)
    return nn.Sequential(first, Twins(gain, offset, primary.weight, len(unit.kernel_size)))


def _primary_like(unit: CompConv, matrix: Tensor, bias: Tensor | None) -> Conv:
    return convolution(conv_of(unit.primary), _kernel(unit, matrix), bias)


def _kernel(unit: CompConv, matrix: Tensor) -> Tensor:
    return matrix.reshape(*matrix.shape, *(1,) * len(unit.kernel_size))
