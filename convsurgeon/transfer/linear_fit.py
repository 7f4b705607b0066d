"""Modules that are one linear map with structure (IGC, hardened DGConv): solved from moments alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families import IGC, HardenedDGConv
from convsurgeon.families.dgconv.fit import Grouped, channel_energy, group_fit
from convsurgeon.families.igc.fit import Blocks, Factors, factorise
from convsurgeon.families.regression.moments import Moments

__all__ = ["StandIn", "solve", "write_bias"]


@dataclass(frozen=True)
class StandIn:
    """A structured map: ``weight`` [C_out, D] is what it applies, ``write`` puts it into its module."""

    weight: Tensor
    write: Callable[[], None]


def solve(module: IGC | HardenedDGConv, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
    """The module's best parameters for a conv ``weight`` [C_out, D] and these moments."""
    cross = weight @ moments.uu + moments.eu
    if isinstance(module, IGC):
        factors = factorise(
            weight,
            cross,
            Blocks(moments.uu, module.spec.primary_groups),
            secondary_groups=module.spec.secondary_groups,
            mid_channels=module.spec.mid_channels,
            sweeps=sweeps,
        )
        return StandIn(factors.composed(), lambda: _write_igc(module, factors))
    energy = channel_energy(weight, moments, module.shape.area)
    grouped = group_fit(energy, cross, moments, module.spec.groups or 1, seed)
    return StandIn(grouped.composed(), lambda: _write_grouped(module, grouped))


def _write_igc(module: IGC, factors: Factors) -> None:
    primary, secondary = _balanced(factors.primary.flatten(0, 1), factors.secondary)
    _put(module.primary.weight, primary)
    # The secondary convolution's own order is partition by partition; output o belongs to partition o mod M.
    groups, each = module.spec.secondary_groups, module.spec.mid_channels // module.spec.secondary_groups
    order = torch.arange(module.spec.mid_channels) if module.interleave is None else module.interleave.cpu()
    rows = torch.arange(module.out_channels).view(-1, groups).T.reshape(-1)
    ordered = secondary[rows][:, order].view(groups, -1, groups, each)
    _put(module.secondary.weight, ordered[torch.arange(groups), :, torch.arange(groups)].flatten(0, 1))


def _balanced(primary: Tensor, secondary: Tensor) -> tuple[Tensor, Tensor]:
    """The same product with equal norms of each mid channel's two sides: kind to half precision and to training."""
    ahead, behind = primary.norm(dim=1), secondary.norm(dim=0)
    scale = torch.where((ahead > 0) & (behind > 0), (behind / ahead.clamp(min=1e-300)).sqrt(), torch.ones(()).double())
    return primary * scale[:, None], secondary / scale


def _write_grouped(module: HardenedDGConv, grouped: Grouped) -> None:
    _put(module.grouped.weight, grouped.weights.flatten(0, 1))
    outputs = torch.from_numpy(grouped.partition.outputs).flatten()
    with torch.no_grad():
        module.input_order.copy_(torch.from_numpy(grouped.partition.inputs).flatten())
        module.output_order.copy_(outputs.argsort())


def write_bias(module: IGC | HardenedDGConv, bias: Tensor) -> None:
    """Put an output bias [C_out] where the module keeps it; nothing if it has none."""
    if isinstance(module, IGC):
        held, order = module.secondary.bias, module.interleave_back
    else:
        held, order = module.grouped.bias, module.output_order
    if held is not None:
        _put(held, bias if order is None else bias[order.cpu().argsort()])


def _put(parameter: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values.reshape(parameter.shape))
