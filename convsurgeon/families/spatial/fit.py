"""Spatial's weights: separable maps fitted to second moments of the inputs, both convolutions in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.fitting import LinearFitting, StandIn, balanced, put
from convsurgeon.families.regression.leading_features import leading_errors
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Moments
from convsurgeon.families.regression.shared_factor import Slices, after, channel_features, improved, start
from convsurgeon.families.spatial.spec import SpatialSpec
from convsurgeon.families.spatial.unit import Spatial

__all__ = ["FITTING"]

# A fit takes more; nearly all that they gain comes of the first two.
SWEEPS = 2


class SpatialFitting(LinearFitting[Spatial, SpatialSpec]):
    """The kernel's columns (or rows) are the slices that the first convolution reads one after the other."""

    def solve(self, unit: Spatial, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
        """The whitened singular vectors, then both convolutions improved in turn."""
        factors = _factorise(weight, weight @ moments.uu + moments.eu, moments, unit.shape, unit.spec, sweeps)
        return StandIn(factors.composed(), lambda: _write(unit, factors))

    def damages(
        self, site: LinearSite, specs: Sequence[SpatialSpec], shape: ConvShape, seed: int
    ) -> dict[SpatialSpec, float]:
        """One factorisation for each order; narrower units are its leading channels.

        Sweeps gain about the same share at every width and in both orders, so that they are made for one unit.
        """
        found: dict[SpatialSpec, float] = {}
        for axis in (0, 1):
            family = [spec for spec in specs if spec.axis == axis]
            if family:
                found |= _by_width(site, sorted(family, key=lambda spec: spec.mid_channels), shape, axis)
        swept = sorted(specs, key=lambda spec: spec.mid_channels)[len(specs) // 3]
        factors = _factorise(site.original.weight, site.cross, site.ridged, shape, swept, SWEEPS)
        kept = site.error(factors.composed()) / max(found[swept], 1e-30)
        return {spec: error * kept for spec, error in found.items()}

    def write_bias(self, unit: Spatial, bias: Tensor) -> None:
        """The second convolution's."""
        held = unit.second.bias
        if held is not None:
            put(held, bias)


FITTING = SpatialFitting()


def slice_order(shape: ConvShape, axis: int) -> tuple[Tensor, int]:
    """Columns [D] of an unfolded patch, slice by slice across the other axis; and the number of slices."""
    columns = torch.arange(shape.in_channels * shape.area).view(shape.in_channels, *shape.kernel)
    return columns.movedim(2 - axis, 0).flatten(), shape.kernel[1 - axis]


def _by_width(site: LinearSite, family: Sequence[SpatialSpec], shape: ConvShape, axis: int) -> dict[SpatialSpec, float]:
    order, count = slice_order(shape, axis)
    features = channel_features(site, order, count, family[-1].mid_channels)
    widths = [min(spec.mid_channels * count, len(features.mean)) for spec in family]
    return dict(zip(family, leading_errors(site, features, widths), strict=True))


@dataclass(frozen=True)
class _Factors:
    """``ahead`` [R, C_in·k] reads each slice of a patch, ``behind`` [C_out, k'·R] all slices' outputs."""

    ahead: Tensor
    behind: Tensor
    order: Tensor

    @property
    def count(self) -> int:
        """The number of slices."""
        return self.behind.shape[1] // len(self.ahead)

    def composed(self) -> Tensor:
        """The one matrix [C_out, D] that both apply."""
        slices = torch.cat([part @ self.ahead for part in self.behind.chunk(self.count, dim=1)], dim=1)
        return slices[:, self.order.argsort()]


def _factorise(
    weight: Tensor, cross: Tensor, moments: Moments, shape: ConvShape, spec: SpatialSpec, sweeps: int
) -> _Factors:
    """Start at ``weight`` [C_out, D] and sweep towards the outputs of which ``cross`` [C_out, D] = Cov(y, u)."""
    order, count = slice_order(shape, spec.axis)
    slices, cross = Slices(moments.uu[order[:, None], order], count), cross[:, order]
    ahead = start(weight[:, order], slices, spec.mid_channels)
    behind = after(ahead, cross, slices)
    for _ in range(sweeps):
        ahead = improved(ahead, behind, cross, slices)
        behind = after(ahead, cross, slices)
    return _Factors(ahead, behind, order)


def _write(unit: Spatial, factors: _Factors) -> None:
    """Into both convolutions; channels that no input needs stay 0."""
    behind, count = factors.behind, factors.count
    first, second = balanced(factors.ahead, behind.view(len(behind) * count, -1))
    missing = unit.spec.mid_channels - len(first)
    put(unit.first.weight, torch.nn.functional.pad(first, (0, 0, 0, missing)))
    kernel = second.view(len(behind), count, -1).transpose(1, 2)
    put(unit.second.weight, torch.nn.functional.pad(kernel, (0, 0, 0, missing)))
