"""Damage of many IGC units at one site.

Everything dear is shared: one covariance per site, and one factorisation per number of primary partitions, because
narrower mid widths are prefixes of the widest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from convsurgeon.families.igc.factorise import Blocks, Factors, descend, factorise, separate_blocks, through
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.regression.leading_features import Features, leading_errors
from convsurgeon.families.regression.linear_site import LinearSite

__all__ = ["igc_damages"]

# A fit takes more; nearly all of what they gain, or lose where samples are few, comes of the first.
SWEEPS = 1
# Widths at which the blocks are swept as in a real fit; between them the gain of sweeping is interpolated.
SWEPT_WIDTHS = 2


def igc_damages(site: LinearSite, specs: Iterable[IGCSpec]) -> dict[IGCSpec, float]:
    """Damage of each unit; units that differ in the mid width alone share their factorisation."""
    families: Mapping[tuple[int, int], list[IGCSpec]] = defaultdict(list)
    for spec in specs:
        families[spec.primary_groups, spec.secondary_groups].append(spec)
    found: dict[IGCSpec, float] = {}
    for (partitions, secondary_groups), family in families.items():
        blocks = Blocks(site.ridged.uu, partitions)
        if secondary_groups > 1:
            # Each secondary partition has a factorisation of its own, so that widths share too little.
            found.update({spec: _swept(site, blocks, spec) for spec in family})
        else:
            found.update(_by_width(site, blocks, sorted(family, key=lambda spec: spec.mid_channels)))
    return found


def _swept(site: LinearSite, blocks: Blocks, spec: IGCSpec) -> float:
    factors = factorise(
        site.original.weight,
        site.cross,
        blocks,
        secondary_groups=spec.secondary_groups,
        mid_channels=spec.mid_channels,
        sweeps=SWEEPS,
    )
    return site.error(factors.composed())


def _by_width(site: LinearSite, blocks: Blocks, family: Sequence[IGCSpec]) -> dict[IGCSpec, float]:
    """Prefixes of the widest unit's blocks, then the gain of sweeping measured at a few widths and interpolated."""
    ranks = [spec.mid_channels // blocks.partitions for spec in family]
    primary, secondary = separate_blocks(site.original.weight, blocks, ranks[-1])
    prefixes = _prefix_errors(site, primary, ranks)
    if blocks.partitions == 1:
        return dict(zip(family, prefixes, strict=True))

    def gain(i: int) -> float:
        start = primary[:, : ranks[i]], secondary[:, :, : ranks[i]]
        ahead, behind = descend(site.cross, blocks, start, SWEEPS)
        swept = site.error(Factors(ahead, behind.flatten(1)).composed())
        return math.log(max(swept, 1e-12) / max(prefixes[i], 1e-12))

    last = len(family) - 1
    anchors = sorted({round(i * last / max(1, SWEPT_WIDTHS - 1)) for i in range(SWEPT_WIDTHS)})
    gains = [gain(i) for i in anchors]
    widths = [math.log(ranks[i]) for i in anchors]
    return {
        spec: error * math.exp(_interpolated(math.log(rank), widths, gains))
        for spec, error, rank in zip(family, prefixes, ranks, strict=True)
    }


def _interpolated(at: float, points: Sequence[float], values: Sequence[float]) -> float:
    for left in range(len(points) - 1):
        if at <= points[left + 1]:
            share = (at - points[left]) / (points[left + 1] - points[left])
            return values[left] + share * (values[left + 1] - values[left])
    return values[-1]


def _prefix_errors(site: LinearSite, primary: Tensor, ranks: Sequence[int]) -> list[float]:
    """Held-out error (M = 1) of the first so many rows [≤ r] of every block [L, r, D/L], ascending."""
    moments = site.ridged
    mid = through(primary, through(primary, moments.uu).T)
    # Every block's strongest feature first, then every second one: a width is a leading part of the features.
    by_rank = torch.arange(len(mid)).view(len(primary), -1).T.flatten()
    features = Features(
        covariance=mid[by_rank][:, by_rank],
        cross=through(primary, site.cross)[:, by_rank],
        held=through(primary, site.held_u)[:, by_rank],
        mean=through(primary, site.moments.mean_u[None])[0, by_rank],
    )
    return leading_errors(site, features, [rank * len(primary) for rank in ranks])
