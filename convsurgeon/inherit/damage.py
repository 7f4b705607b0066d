"""Damage of many candidates at one site: relative output error on samples that were not fitted on.

Everything dear is shared: one covariance per site, one factorisation per number of primary partitions (narrower mid
widths are prefixes of the widest), one energy matrix for all groupings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.convs import DGConvSpec, IGCSpec, Spec
from convsurgeon.inherit.dgconv import channel_energy, group_fit
from convsurgeon.inherit.igc import Blocks, factorise, separate_blocks, through
from convsurgeon.inherit.linear_algebra import factor, solve_right
from convsurgeon.inherit.moments import Collected, Linear, Moments

__all__ = ["LinearSite", "grouping_damages", "igc_damages"]

SWEEPS = 2
# Widths at which the blocks are swept as in a real fit; between them the gain of sweeping is interpolated.
SWEPT_WIDTHS = 2


@dataclass(frozen=True)
class LinearSite:
    """One site ready for estimates: its weights, moments of the samples to fit on (plain and ridged), held samples."""

    original: Linear
    moments: Moments
    ridged: Moments
    held_u: Tensor
    held_y: Tensor

    @classmethod
    def of(cls, collected: Collected, ridge: float, *, centred: bool) -> LinearSite:
        """From one pass over the data."""
        moments = collected.fitted.moments(centred=centred)
        held_u, held_y = collected.held_u.double(), collected.held_y.double()
        return cls(collected.fitted.original, moments, moments.ridged(ridge), held_u, held_y)

    def error(self, weight: Tensor) -> float:
        """Of a linear map [C_out, D], with the bias that the fit gives it."""
        bias = self.moments.bias(self.original, weight) if self.moments.centred else self.original.bias
        return self.error_of(self.held_u @ weight.T + bias)

    def error_of(self, found: Tensor) -> float:
        """Of predictions [Q, C_out] on the held samples."""
        return float((self.held_y - found).square().sum()) / max(self.spread, 1e-30)

    @property
    def spread(self) -> float:
        """‖y − mean(y)‖² of the held samples."""
        return float((self.held_y - self.held_y.mean(0)).square().sum())


def grouping_damages(site: LinearSite, specs: Iterable[DGConvSpec], area: int, seed: int) -> dict[Spec, float]:
    """Damage of each number of groups."""
    weight = site.original.weight
    cross = weight @ site.ridged.uu + site.ridged.eu
    energy = channel_energy(weight, site.ridged, area)
    found: dict[Spec, float] = {}
    for spec in specs:
        # Open gates are the convolution itself.
        found[spec] = 0.0
        if spec.groups is not None:
            found[spec] = site.error(group_fit(energy, cross, site.ridged, spec.groups, seed).composed())
    return found


def igc_damages(site: LinearSite, specs: Iterable[IGCSpec]) -> dict[Spec, float]:
    """Damage of each unit; units that differ in the mid width alone share their factorisation."""
    families: Mapping[tuple[int, int], list[IGCSpec]] = defaultdict(list)
    for spec in specs:
        families[spec.primary_groups, spec.secondary_groups].append(spec)
    found: dict[Spec, float] = {}
    for (partitions, secondary_groups), family in families.items():
        blocks = Blocks.of(site.ridged.uu, partitions)
        if secondary_groups > 1:
            # Each secondary partition has a factorisation of its own, so that widths share too little.
            found.update({spec: _swept(site, blocks, spec) for spec in family})
        else:
            found.update(_by_width(site, blocks, sorted(family, key=lambda spec: spec.mid_channels)))
    return found


def _swept(site: LinearSite, blocks: Blocks, spec: IGCSpec) -> float:
    factors = factorise(
        site.original.weight,
        site.ridged,
        blocks,
        secondary_groups=spec.secondary_groups,
        mid_channels=spec.mid_channels,
        sweeps=SWEEPS,
    )
    return site.error(factors.composed())


def _by_width(site: LinearSite, blocks: Blocks, family: Sequence[IGCSpec]) -> dict[Spec, float]:
    """Prefixes of the widest unit's blocks, then the gain of sweeping measured at a few widths and interpolated."""
    prefixes = _prefix_errors(site, blocks, [spec.mid_channels for spec in family])
    if len(blocks.lower) == 1:
        return dict(zip(family, prefixes, strict=True))
    last = len(family) - 1
    anchors = sorted({round(i * last / max(1, SWEPT_WIDTHS - 1)) for i in range(SWEPT_WIDTHS)})
    gains = [math.log(max(_swept(site, blocks, family[i]), 1e-12) / max(prefixes[i], 1e-12)) for i in anchors]
    widths = [math.log(family[i].mid_channels) for i in anchors]
    return {
        spec: error * math.exp(_interpolated(math.log(spec.mid_channels), widths, gains))
        for spec, error in zip(family, prefixes, strict=True)
    }


def _interpolated(at: float, points: Sequence[float], values: Sequence[float]) -> float:
    for left in range(len(points) - 1):
        if at <= points[left + 1]:
            share = (at - points[left]) / (points[left + 1] - points[left])
            return values[left] + share * (values[left + 1] - values[left])
    return values[-1]


def _prefix_errors(site: LinearSite, blocks: Blocks, widths: Sequence[int]) -> list[float]:
    """Held-out error at each mid width (M = 1): prefixes of every block, then the secondary's least squares."""
    moments, partitions, widest = site.ridged, len(blocks.lower), max(widths)
    primary, _ = separate_blocks(site.original.weight, blocks, widest // partitions)
    mid_inputs = through(primary, moments.uu).T
    mid, cross = through(primary, mid_inputs), site.original.weight @ mid_inputs.T + through(primary, moments.eu)
    held, mean_mid = through(primary, site.held_u), through(primary, site.moments.mean_u[None])[0]
    errors = []
    for width in widths:
        rows = torch.arange(widest).view(partitions, -1)[:, : width // partitions].flatten()
        secondary = solve_right(cross[:, rows], factor(mid[rows][:, rows]))
        bias = site.moments.mean_y - secondary @ mean_mid[rows] if moments.centred else site.original.bias
        errors.append(site.error_of(held[:, rows] @ secondary.T + bias))
    return errors
