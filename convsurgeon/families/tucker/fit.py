"""Tucker's weights: inputs reduced, then a reduced-rank regression, fitted to second moments of the inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.fitting import LinearFitting, StandIn, balanced, put
from convsurgeon.families.regression.leading_features import Whitened
from convsurgeon.families.regression.linear_algebra import strongest
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Moments
from convsurgeon.families.regression.shared_factor import (
    Slices,
    after,
    channel_features,
    improved,
    slicewise,
    start,
)
from convsurgeon.families.tucker.spec import TuckerSpec
from convsurgeon.families.tucker.unit import Tucker

__all__ = ["FITTING"]


class TuckerFitting(LinearFitting[Tucker, TuckerSpec]):
    """The kernel's positions are the slices that the first convolution reads one after the other."""

    def solve(self, unit: Tucker, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
        """Whitened leading input channels, the best map of low rank behind them, and both improved in turn."""
        order, count = slice_order(unit.shape)
        slices = Slices(moments.uu[order[:, None], order], count)
        cross = (weight @ moments.uu + moments.eu)[:, order]
        ahead = start(weight[:, order], slices, unit.spec.in_rank)
        expand, core = _behind(ahead, cross, slices, unit.spec.out_rank)
        for _ in range(sweeps):
            ahead = improved(ahead, expand @ core, cross, slices)
            expand, core = _behind(ahead, cross, slices, unit.spec.out_rank)
        composed = torch.cat([expand @ part @ ahead for part in core.chunk(count, dim=1)], dim=1)
        return StandIn(composed[:, order.argsort()], lambda: _write(unit, ahead, core, expand, count))

    def damages(
        self, site: LinearSite, specs: Sequence[TuckerSpec], shape: ConvShape, seed: int
    ) -> dict[TuckerSpec, float]:
        """One factorisation: fewer inputs are its leading channels, and every rank behind them is a projection."""
        by_rank: Mapping[int, list[TuckerSpec]] = defaultdict(list)
        for spec in specs:
            by_rank[spec.in_rank].append(spec)
        order, count = slice_order(shape)
        white = Whitened.of(site, channel_features(site, order, count, max(by_rank)))
        explained, gram = torch.zeros_like(site.held_y), site.held_y.new_zeros((site.held_y.shape[1],) * 2)
        found: dict[TuckerSpec, float] = {}
        seen = 0
        for rank in sorted(by_rank):
            part = slice(seen, rank * count)
            explained.addmm_(white.seen[:, part], white.explained[:, part].T)
            gram.addmm_(white.explained[:, part], white.explained[:, part].T)
            seen = part.stop
            vectors = strongest(gram, max(spec.out_rank for spec in by_rank[rank]))
            found.update(_projected(site, by_rank[rank], explained, vectors))
        return found

    def write_bias(self, unit: Tucker, bias: Tensor) -> None:
        """The last convolution's."""
        held = unit.expand.bias
        if held is not None:
            put(held, bias)


FITTING = TuckerFitting()


def slice_order(shape: ConvShape) -> tuple[Tensor, int]:
    """Columns [D] of an unfolded patch, kernel position by position; and the number of positions."""
    columns = torch.arange(shape.in_channels * shape.area).view(shape.in_channels, shape.area)
    return columns.T.flatten(), shape.area


def _behind(ahead: Tensor, cross: Tensor, slices: Slices, rank: int) -> tuple[Tensor, Tensor]:
    """The best map of low rank from A's outputs: expand [C_out, R_2] · core [R_2, S·R_1].

    The least-squares map, projected on the directions in which it explains most.
    """
    behind = after(ahead, cross, slices)
    explained = behind @ slicewise(ahead, cross, slices.count).T
    vectors = strongest((explained + explained.T) / 2, rank)
    return vectors, vectors.T @ behind


def _projected(
    site: LinearSite, family: Iterable[TuckerSpec], explained: Tensor, vectors: Tensor
) -> dict[TuckerSpec, float]:
    """Held-out errors of predictions [Q, C_out] projected on the first R_2 of ``vectors`` [C_out, R_2]."""
    wanted, seen = (site.held_y - site.level) @ vectors, explained @ vectors
    gained = (2 * wanted * seen - seen.square()).sum(0).cumsum(0)
    nothing = site.error_of(site.level.expand_as(site.held_y))
    return {
        spec: max(0.0, nothing - float(gained[min(spec.out_rank, len(gained)) - 1]) / max(site.spread, 1e-30))
        for spec in family
    }


def _write(unit: Tucker, ahead: Tensor, core: Tensor, expand: Tensor, count: int) -> None:
    """The three convolutions; channels beyond those that there are stay 0."""
    by_channel = core.view(len(core), count, -1)
    reduced, mixed = balanced(ahead, by_channel.flatten(0, 1))
    mixed, expand = balanced(mixed.view(len(core), -1), expand)
    kernel = mixed.view(len(core), count, -1).transpose(1, 2)
    spec = unit.spec
    pad = torch.nn.functional.pad
    put(unit.reduce.weight, pad(reduced, (0, 0, 0, spec.in_rank - len(reduced))))
    put(unit.core.weight, pad(kernel, (0, 0, 0, spec.in_rank - kernel.shape[1], 0, spec.out_rank - len(kernel))))
    put(unit.expand.weight, pad(expand, (0, spec.out_rank - expand.shape[1])))
