"""Forms of an IGC unit: two convolutions, in fewer groups or whole blocks where that is faster, or a dense one.

With y = A · P(x), P the primary convolution and A the secondary one with both permutations in it, A takes in scale,
shift and output order. Joining groups adds multiplications by zero and makes kernels wider; so do whole blocks: on
AVX-512 a grouped convolution whose groups don't fill vector registers may take twice as long as a wider one.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from convsurgeon.families.forms.absorbed import Absorbed, unit_of
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, blocks, coarser_groups, kernel_of, over, regrouped, written_out
from convsurgeon.families.forms.pieces import Gather
from convsurgeon.families.igc.unit import IGC
from convsurgeon.families.torch_convs import Conv

__all__ = ["forms"]


def forms(absorbed: Absorbed) -> list[Form]:
    """First the one with the fewest multiplications; none for a unit whose parts are not torch's own."""
    unit = unit_of(absorbed, IGC)
    if any(type(part) not in PLAIN_CONVS for part in (unit.primary, unit.secondary)):
        return []
    groups, partitions = unit.primary.groups, unit.secondary.groups
    counts = [groups, *coarser_groups(groups, unit.in_channels // groups)]
    found = [] if partitions == 1 else [_interleaved(unit)]
    # A dense P always comes in whole blocks: they cost nothing there.
    found += [_pair(unit, count, whole=count == 1) for count in counts]
    found += [_pair(unit, count, whole=True) for count in counts if _gains_blocks(unit, count)]
    return [*found, Form("one dense convolution", _dense)]


def _pair(unit: IGC, groups: int, *, whole: bool) -> Form:
    """P with ``groups`` groups, then A as a dense 1×1 convolution; ``whole``: each group in whole blocks."""
    inputs = None if groups == 1 else torch.arange(unit.in_channels, device=unit.primary.weight.device)
    name = "two convolutions" if groups == unit.primary.groups else f"two convolutions, the first in {groups} groups"
    width = unit.primary.out_channels // groups
    if whole:
        name, width = name if groups == 1 else f"{name}, whole blocks", blocks(width)
    return Form(name, partial(_build_pair, groups=groups, width=width), reads=inputs)


def _gains_blocks(unit: IGC, groups: int) -> bool:
    """Whether whole blocks change anything, keep the map between narrow, and stay below the dense multiplications."""
    width = unit.primary.out_channels // groups
    wide = blocks(width) * groups
    if groups == 1 or width == blocks(width) or wide > 2 * max(unit.in_channels, unit.out_channels):
        return False
    per_position = wide * (unit.in_channels // groups * unit.shape.area + unit.out_channels)
    return per_position < unit.in_channels * unit.out_channels * unit.shape.area


def _build_pair(absorbed: Absorbed, groups: int, width: int) -> nn.Module:
    unit = unit_of(absorbed, IGC)
    kernel = regrouped(kernel_of(unit.primary), unit.primary.groups, groups)
    matrix, bias = _after(absorbed)
    shift = unit.primary.bias
    if groups == 1:
        kernel = kernel[:, absorbed.reads.argsort()]
    kernel, matrix = _widened(kernel, 0, groups, width), _widened(matrix, 1, groups, width)
    shift = None if shift is None else _widened(shift, 0, groups, width)
    primary = convolution(_conv(unit.primary), kernel, shift, groups=groups)
    secondary = convolution(_conv(unit.secondary), _as_kernel(matrix, unit), bias, pointwise=True)
    return nn.Sequential(primary, secondary)


def _widened(values: Tensor, axis: int, groups: int, width: int) -> Tensor:
    """Each group's channels along ``axis``, and zeros up to ``width``."""
    ahead, behind = values.shape[:axis], values.shape[axis + 1 :]
    grouped = values.reshape(*ahead, groups, -1, *behind)
    missing = grouped.new_zeros(*ahead, groups, width - grouped.shape[axis + 1], *behind)
    return torch.cat((grouped, missing), dim=axis + 1).flatten(axis, axis + 1)


def _dense(absorbed: Absorbed) -> nn.Module:
    unit = unit_of(absorbed, IGC)
    matrix, bias = _after(absorbed)
    kernel = written_out(kernel_of(unit.primary), unit.primary.groups)
    composed = torch.einsum("om,mi...->oi...", matrix, kernel)[:, absorbed.reads.argsort()]
    return convolution(_conv(unit.primary), composed, bias + matrix @ bias_of(unit.primary))


def _after(absorbed: Absorbed) -> tuple[Tensor, Tensor]:
    """A [C_out, C_mid] and its bias, in the order written, with scale and shift."""
    unit = unit_of(absorbed, IGC)
    matrix = written_out(kernel_of(unit.secondary), unit.secondary.groups).flatten(1)
    bias = bias_of(unit.secondary)
    if unit.interleave is not None and unit.interleave_back is not None:
        matrix = matrix[:, unit.interleave.argsort()][unit.interleave_back]
        bias = bias[unit.interleave_back]
    matrix, bias = matrix * over(absorbed.scale, 2), bias * absorbed.scale + absorbed.shift
    return matrix[absorbed.writes], bias[absorbed.writes]


def _interleaved(unit: IGC) -> Form:
    """As the paper has it; the second permutation is left to the outside."""
    device = unit.primary.weight.device
    back = torch.arange(unit.out_channels, device=device) if unit.interleave_back is None else unit.interleave_back
    inputs = torch.arange(unit.in_channels, device=device) if unit.primary.groups > 1 else None
    return Form("two grouped convolutions", _build_interleaved, order=back.argsort(), reads=inputs)


def _build_interleaved(absorbed: Absorbed) -> nn.Module:
    unit = unit_of(absorbed, IGC)
    primary, secondary, between = _conv(unit.primary), _conv(unit.secondary), unit.interleave
    order = absorbed.writes.new_tensor(range(unit.out_channels))
    if unit.interleave_back is not None:
        order = unit.interleave_back.argsort()
    # Channel j comes out as the unit's channel order[j].
    scale, shift = absorbed.scale[order], absorbed.shift[order]
    weight = kernel_of(secondary) * over(scale, secondary.weight.dim())
    second = convolution(secondary, weight, bias_of(secondary) * scale + shift, groups=secondary.groups, pointwise=True)
    if primary.groups == 1:
        rows = torch.arange(len(primary.weight), device=order.device) if between is None else between
        kernel = kernel_of(primary)[rows][:, absorbed.reads.argsort()]
        bias = None if primary.bias is None else primary.bias[rows]
        return nn.Sequential(convolution(primary, kernel, bias), second)
    first = convolution(primary, kernel_of(primary), primary.bias, groups=primary.groups)
    return nn.Sequential(first, second) if between is None else nn.Sequential(first, Gather(between), second)


def _as_kernel(matrix: Tensor, unit: IGC) -> Tensor:
    return matrix.view(*matrix.shape, *(1,) * len(unit.kernel_size))


def _conv(module: nn.Module) -> Conv:
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        raise TypeError(f"{type(module).__name__} is no convolution")
    return module
