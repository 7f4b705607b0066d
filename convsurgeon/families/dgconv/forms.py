"""Forms of a hardened DGConv: one grouped convolution whose orders are left to the outside, or a dense one."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from convsurgeon.families.dgconv.unit import HardenedDGConv
from convsurgeon.families.forms.absorbed import Absorbed, unit_of
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, coarser_groups, kernel_of, over, regrouped, written_out

__all__ = ["forms"]


def forms(absorbed: Absorbed) -> list[Form]:
    """Fewest multiplications first; none for a unit whose convolution is not torch's own."""
    unit = unit_of(absorbed, HardenedDGConv)
    if type(unit.grouped) not in PLAIN_CONVS:
        return []
    groups = unit.grouped.groups
    counts = [groups, *coarser_groups(groups, unit.in_channels // groups)]
    found = [
        Form(
            f"a convolution in {count} groups",
            partial(_grouped, groups=count),
            order=unit.output_order.argsort(),
            reads=unit.input_order,
        )
        for count in counts
        if count > 1
    ]
    return [*found, Form("one dense convolution", _dense)]


def _grouped(absorbed: Absorbed, groups: int) -> nn.Module:
    unit = unit_of(absorbed, HardenedDGConv)
    conv, order = unit.grouped, unit.output_order.argsort()
    scale, shift = absorbed.scale[order], absorbed.shift[order]
    kernel = regrouped(kernel_of(conv), conv.groups, groups) * over(scale, conv.weight.dim())
    return convolution(conv, kernel, bias_of(conv) * scale + shift, groups=groups)


def _dense(absorbed: Absorbed) -> nn.Module:
    unit = unit_of(absorbed, HardenedDGConv)
    kernel = written_out(kernel_of(unit.grouped), unit.grouped.groups)
    inputs = torch.empty_like(unit.input_order)
    # Column c of the grouped kernel reads the unit's channel input_order[c], which arrives at reads[…].
    inputs[absorbed.reads[unit.input_order]] = torch.arange(len(inputs), device=inputs.device)
    outputs = unit.output_order[absorbed.writes]
    kernel = kernel[outputs][:, inputs] * over(absorbed.scale[absorbed.writes], kernel.dim())
    bias = (bias_of(unit.grouped)[unit.output_order] * absorbed.scale + absorbed.shift)[absorbed.writes]
    return convolution(unit.grouped, kernel, bias)
