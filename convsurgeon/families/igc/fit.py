"""IGC's weights: factorised from second moments, and written partition by partition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.igc.damage import igc_damages
from convsurgeon.families.igc.factorise import Blocks, Factors, factorise
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.igc.unit import IGC
from convsurgeon.families.regression.fitting import LinearFitting, StandIn, balanced, put
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Moments
from convsurgeon.families.regression.problems import spread

__all__ = ["FITTING"]


class IGCFitting(LinearFitting[IGC, IGCSpec]):
    """One low-rank regression per primary partition, swept until the partitions agree."""

    def solve(self, unit: IGC, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
        """See `factorise`."""
        factors = factorise(
            weight,
            weight @ moments.uu + moments.eu,
            Blocks(moments.uu, unit.spec.primary_groups),
            secondary_groups=unit.spec.secondary_groups,
            mid_channels=unit.spec.mid_channels,
            sweeps=sweeps,
        )
        return StandIn(factors.composed(), lambda: _write(unit, factors))

    def damages(self, site: LinearSite, specs: Sequence[IGCSpec], shape: ConvShape, seed: int) -> dict[IGCSpec, float]:
        """Units that differ in the mid width alone share their factorisation."""
        return igc_damages(site, specs)

    def write_bias(self, unit: IGC, bias: Tensor) -> None:
        """The secondary convolution's, in its own order."""
        if unit.secondary.bias is not None:
            order = unit.interleave_back
            put(unit.secondary.bias, bias if order is None else bias[order.cpu().argsort()])

    def joined(self, unit: IGC, key: str, values: Sequence[Tensor]) -> Tensor:
        """Weights side by side; of a transposed convolution the secondary is the one that spreads."""
        if key.startswith("interleave"):
            return unit.state_dict()[key]
        if key == "secondary.weight" and unit.shape.transposed:
            partitions = unit.secondary.groups // unit.shape.groups
            return torch.cat([spread(value, unit.shape, partitions) for value in values])
        return super().joined(unit, key, values)


FITTING = IGCFitting()


def _write(module: IGC, factors: Factors) -> None:
    primary, secondary = balanced(factors.primary.flatten(0, 1), factors.secondary)
    put(module.primary.weight, primary)
    # The secondary convolution's own order is partition by partition; output o belongs to partition o mod M.
    groups, each = module.spec.secondary_groups, module.spec.mid_channels // module.spec.secondary_groups
    order = torch.arange(module.spec.mid_channels) if module.interleave is None else module.interleave.cpu()
    rows = torch.arange(module.out_channels).view(-1, groups).T.reshape(-1)
    ordered = secondary[rows][:, order].view(groups, -1, groups, each)
    put(module.secondary.weight, ordered[torch.arange(groups), :, torch.arange(groups)].flatten(0, 1))
