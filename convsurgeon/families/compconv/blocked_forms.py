"""Forms of a CompConv unit that consist of convolutions and concatenations alone, in widths of whole blocks.

Inference runtimes keep channels in blocks of a vector register; a slice, a scale or a width in between makes them
leave that layout and come back. So copies become 1×1 convolutions that select, widths are filled up with zeros, and
scale, shift and order go into a last 1×1 convolution, or into depthwise ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.families.compconv.slots import compconv, conv_of, last_width, slot_order
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import convolution
from convsurgeon.families.forms.kernels import BLOCK, bias_of, blocks, kernel_of, over
from convsurgeon.families.forms.pieces import Tree
from convsurgeon.families.torch_convs import Conv

__all__ = ["build_assembled", "build_shared", "shared_order", "shared_tail"]


def build_assembled(absorbed: Absorbed) -> nn.Module:
    """The tree in whole blocks, then one 1×1 convolution over all its parts."""
    unit = compconv(absorbed)
    primary = conv_of(unit.primary)
    p = unit.spec.primary_channels
    first = _embedded(primary, kernel_of(primary)[:, absorbed.reads.argsort()], range(p), None, blocks(p), None)
    places = absorbed.reads[unit.identity_index]
    copies: list[nn.Module] = []
    levels: list[nn.Module] = []
    columns: list[Tensor] = []
    width_of_b, taken = p, 0
    for module, width in zip(unit.levels, unit.spec.level_channels(), strict=True):
        half = width // 2
        copies.append(_selecting(absorbed, places[taken : taken + half]))
        taken += half
        held = torch.cat((torch.arange(half), blocks(half) + torch.arange(width_of_b)))
        level, wide = conv_of(module), blocks(half) + blocks(width_of_b)
        levels.append(_embedded(level, kernel_of(level), range(width), held, blocks(width), wide))
        columns.insert(0, held)
        width_of_b = width
    return nn.Sequential(Tree(first, copies, levels, _parts(absorbed)), _last(absorbed, columns))


def _parts(absorbed: Absorbed) -> list[tuple[int, nn.Module | None]]:
    """The tail over the whole of B_0, B_0, and what each level read."""
    unit = compconv(absorbed)
    parts: list[tuple[int, nn.Module | None]] = []
    if unit.tail is not None:
        tail = conv_of(unit.tail)
        wide = blocks(last_width(unit))
        kernel = kernel_of(tail).new_zeros(wide, *tail.weight.shape[1:])
        kernel[: unit.tail_channels] = kernel_of(tail)
        parts.append((1, convolution(tail, kernel, _filled(bias_of(tail), wide), groups=wide)))
    return [*parts, *((1 + place, None) for place in range(len(unit.levels) + 1))]


def _last(absorbed: Absorbed, columns: list[Tensor]) -> Conv:
    """From the parts, blocks and all, to the output channels in the order written."""
    unit = compconv(absorbed)
    tail, width = unit.tail_channels, last_width(unit)
    places = [] if unit.tail is None else [torch.arange(tail)]
    start = 0 if unit.tail is None else blocks(width)
    places.append(start + torch.arange(width))
    start += blocks(width)
    for held in columns:
        places.append(start + held)
        start += blocks(len(held) // 2) + blocks(int(held[-1]) + 1 - blocks(len(held) // 2))
    slots = torch.cat(places).to(absorbed.reads.device)
    rows = unit.output_order[absorbed.writes]
    matrix = absorbed.scale.new_zeros(unit.out_channels, start)
    matrix[torch.arange(unit.out_channels), slots[rows]] = absorbed.scale[absorbed.writes]
    kernel = matrix.view(*matrix.shape, *(1,) * len(unit.kernel_size))
    return convolution(conv_of(unit.primary), kernel, absorbed.shift[absorbed.writes], pointwise=True)


def _selecting(absorbed: Absorbed, places: Tensor) -> Conv:
    """A 1×1 convolution that copies some input channels, at the unit's stride."""
    unit = compconv(absorbed)
    matrix = absorbed.scale.new_zeros(blocks(len(places)), unit.in_channels)
    matrix[torch.arange(len(places)), places] = 1
    kernel = matrix.view(*matrix.shape, *(1,) * len(unit.kernel_size))
    return convolution(conv_of(unit.primary), kernel, None, pointwise=True, stride=unit.shape.stride)


def _embedded(conv: Conv, kernel: Tensor, rows: range, columns: Tensor | None, height: int, width: int | None) -> Conv:
    """A convolution with zero rows behind its own, and its columns at ``columns`` of ``width``."""
    wide = kernel if columns is None else kernel.new_zeros(len(kernel), width or 0, *kernel.shape[2:])
    if columns is not None:
        wide[:, columns] = kernel
    new = wide.new_zeros(height, *wide.shape[1:])
    new[: len(rows)] = wide
    return convolution(conv, new, None if conv.bias is None else _filled(bias_of(conv), height))


def _filled(values: Tensor, length: int) -> Tensor:
    return torch.cat((values, values.new_zeros(length - len(values))))


def shared_tail(absorbed: Absorbed) -> int:
    """Channels of a 1×1 unit that are computed once and written twice: as many of the tail as fill whole blocks."""
    return compconv(absorbed).tail_channels // BLOCK * BLOCK


def shared_order(absorbed: Absorbed) -> Tensor:
    """The sources, their tails, then everything else in slot order."""
    unit, count = compconv(absorbed), shared_tail(absorbed)
    tail = unit.tail_channels
    sources, tails = torch.arange(tail, tail + count), torch.arange(count)
    rest = torch.cat((torch.arange(count, tail), torch.arange(tail + count, unit.out_channels)))
    return slot_order(unit)[torch.cat((sources, tails, rest)).to(absorbed.reads.device)]


def build_shared(absorbed: Absorbed, matrix: Tensor, bias: Tensor, gain: Tensor, offset: Tensor) -> nn.Module:
    """Of a 1×1 unit given as a matrix over slots: dense rows, and a depthwise convolution for the tails.

    ``gain`` and ``offset`` make a tail from its source, both scaled.
    """
    unit, count = compconv(absorbed), shared_tail(absorbed)
    slots = unit.output_order[shared_order(absorbed)]
    like, axes = conv_of(unit.primary), len(unit.kernel_size) + 2

    def dense(which: Tensor) -> Conv:
        return convolution(like, matrix[which].view(*matrix[which].shape, *(1,) * (axes - 2)), bias[which])

    kernel = over(gain[:count], axes)
    twice = convolution(like, kernel, offset[:count], groups=count, pointwise=True)
    rest = slots[2 * count :]
    outputs: list[tuple[int, nn.Module | None]] = [(1, None), (1, twice)]
    return Tree(dense(slots[:count]), [], [], [*outputs, (0, dense(rest))] if len(rest) else outputs)
