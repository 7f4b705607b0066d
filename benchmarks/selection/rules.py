"""Rules that say which channels stay, and fits that say what the layers that read them then weigh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import scipy.linalg
import torch
from torch import Tensor

from benchmarks.selection.cases import Case, Reading
from convsurgeon.families.regression.linear_algebra import factor, solve_right
from convsurgeon.transfer.elimination import Elimination
from convsurgeon.transfer.stream_damage import STEPS

__all__ = ["WAYS", "Way"]

MERGE_RIDGE = 1e-3  # of the mean power of a channel

# --- rules: which channels stay [count] -------------------------------------------------------------------------------


def brain_surgeon(case: Case, count: int) -> Tensor:
    """Structured optimal brain surgeon, as convert does it."""
    layers = [(reading.site, reading.blocks) for reading in case.readings]
    elimination = Elimination([case.stream.channels], layers)
    elimination.to(0, count, max(1, case.stream.channels // STEPS))
    return torch.tensor(elimination.left()[0])


def by_magnitude(case: Case, count: int) -> Tensor:
    """The largest weights in the layers that read."""
    return case.strongest(lambda reading, columns: _power(reading, columns).sum(1), count)


def by_activation(case: Case, count: int) -> Tensor:
    """The largest variance of what a channel adds to the outputs of the layers that read, each input by itself."""

    def score(reading: Reading, columns: Tensor) -> Tensor:
        return (_power(reading, columns) * reading.site.moments.uu.diagonal()[columns]).sum(1)

    return case.strongest(score, count)


def by_pivots(case: Case, count: int) -> Tensor:
    """The first pivots of a QR decomposition of the activations, taken from their covariance."""
    root = factor(case.gram().double()).T.numpy()
    pivots = scipy.linalg.qr(root, mode="r", pivoting=True)[1]
    return torch.from_numpy(pivots[:count].copy()).long().sort().values


def _power(reading: Reading, columns: Tensor) -> Tensor:
    return reading.site.original.weight[:, columns].square().sum(0)


# --- fits: the weights [C_out, D] of a layer that reads, zero where channels are gone ---------------------------------


def least_squares(case: Case, reading: Reading, kept: Tensor) -> Tensor:
    """What comes nearest to the layer's own outputs."""
    site, left = reading.site, reading.left(kept, case.stream.channels)
    weight = torch.zeros_like(site.original.weight)
    weight[:, left] = solve_right(site.cross[:, left], factor(site.ridged.uu[left[:, None], left]))
    return weight


def merged(case: Case, reading: Reading, kept: Tensor) -> Tensor:
    """Each channel's weights given to the kept ones, by the ridge regression of its activations on theirs."""
    gram = case.gram()
    ridge = MERGE_RIDGE * gram.diagonal().mean() * torch.eye(len(kept))
    maps = solve_right(gram[:, kept], factor(gram[kept[:, None], kept] + ridge))  # [C, n]
    weight = reading.site.original.weight.clone()
    for block in reading.blocks:
        columns = reading.columns(block, case.every)
        merged_weights = torch.einsum("oce,cn->one", weight[:, columns], maps)
        weight[:, columns.flatten()] = 0
        weight[:, columns[kept].flatten()] = merged_weights.flatten(1)
    return weight


@dataclass(frozen=True)
class Way:
    """A rule, a fit, and what both are called."""

    title: str
    choose: Callable[[Case, int], Tensor]
    fit: Callable[[Case, Reading, Tensor], Tensor] = least_squares


WAYS = (
    Way("optimal brain surgeon, structured (convsurgeon)", brain_surgeon),
    Way("weight magnitude", by_magnitude),
    Way("activation energy × weights", by_activation),
    Way("pivoted QR of the activations (LinDeps)", by_pivots),
    Way("weight magnitude, merged by a Gram ridge (GRAIL)", by_magnitude, merged),
)
