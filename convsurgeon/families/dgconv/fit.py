"""Hardened DGConv's weights: the partition that keeps most energy, refitted inside of its groups."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv.grouping import Grouped, channel_energy, group_fit
from convsurgeon.families.dgconv.partition import partitions
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.dgconv.unit import HardenedDGConv
from convsurgeon.families.regression.fitting import LinearFitting, StandIn, put
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Moments

__all__ = ["FITTING"]


class DGConvFitting(LinearFitting[HardenedDGConv, DGConvSpec]):
    """The grouping of least energy lost, then least squares in every group."""

    def solve(self, unit: HardenedDGConv, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
        """See `group_fit`; there is nothing to sweep."""
        energy = channel_energy(weight, moments, unit.shape.area)
        cross = weight @ moments.uu + moments.eu
        groups = unit.spec.groups or 1
        grouped = group_fit(partitions(energy.numpy(), groups, seed)[groups], cross, moments)
        return StandIn(grouped.composed(), lambda: _write(unit, grouped))

    def damages(
        self, site: LinearSite, specs: Sequence[DGConvSpec], shape: ConvShape, seed: int
    ) -> dict[DGConvSpec, float]:
        """More groups are halves of fewer ones, so all of them take one run of halving; open gates lose nothing."""
        found: dict[DGConvSpec, float] = dict.fromkeys(specs, 0.0)
        by_groups = {spec.groups: spec for spec in specs if spec.groups is not None}
        if by_groups:
            energy = channel_energy(site.original.weight, site.ridged, shape.area).double()
            parts = partitions(energy.numpy(), max(by_groups), seed)
            for groups, spec in by_groups.items():
                found[spec] = site.error(group_fit(parts[groups], site.cross, site.ridged).composed())
        return found

    def write_bias(self, unit: HardenedDGConv, bias: Tensor) -> None:
        """The grouped convolution's, group by group."""
        if unit.grouped.bias is not None:
            put(unit.grouped.bias, bias[unit.output_order.cpu().argsort()])

    def joined(self, unit: HardenedDGConv, key: str, values: Sequence[Tensor]) -> Tensor:
        """Orders count on from part to part."""
        if key in ("input_order", "output_order"):
            return torch.cat([value + i * len(value) for i, value in enumerate(values)])
        return super().joined(unit, key, values)


FITTING = DGConvFitting()


def _write(module: HardenedDGConv, grouped: Grouped) -> None:
    put(module.grouped.weight, grouped.weights.flatten(0, 1))
    outputs = torch.from_numpy(grouped.partition.outputs).flatten()
    with torch.no_grad():
        module.input_order.copy_(torch.from_numpy(grouped.partition.inputs).flatten())
        module.output_order.copy_(outputs.argsort())
