"""Structured optimal brain surgeon, against least squares solved anew."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from convsurgeon.families.regression.gathering import Collected
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Linear, MomentSum
from convsurgeon.transfer.elimination import Elimination, ReadBlock

CHANNELS, EACH, OUTPUTS = 6, 2, 4


def _site(seed: int = 0) -> LinearSite:
    """A linear problem with correlated inputs."""
    random = torch.Generator().manual_seed(seed)
    width = CHANNELS * EACH
    mix = torch.randn(width, width, generator=random)
    u = torch.randn(500, width, generator=random) @ mix
    original = Linear(torch.randn(OUTPUTS, width, generator=random).double(), torch.zeros(OUTPUTS).double())
    sums = MomentSum(original)
    y = u @ original.weight.float().T
    sums.add(u[:400], y[:400])
    return LinearSite.of(Collected(sums, u[400:], y[400:]), 1e-6, centred=True)


def _best_without(site: LinearSite, gone: tuple[int, ...]) -> float:
    """The least relative error of any linear map that does not read these channels, on the samples fitted on."""
    stays = [i for c in range(CHANNELS) if c not in gone for i in range(c * EACH, (c + 1) * EACH)]
    covariance, weight = site.ridged.uu.double(), site.original.weight.double()
    cross = weight @ covariance[:, stays]
    best = cross @ torch.linalg.inv(covariance[stays][:, stays])
    lost = (weight @ covariance @ weight.T - best @ cross.T).trace()
    return float(lost) / float(site.moments.yy.sum())


def _elimination(*sites: LinearSite) -> Elimination:
    return Elimination([CHANNELS], [(site, [ReadBlock(0, 0, EACH)]) for site in sites])


def test_the_first_to_go_is_the_one_that_least_squares_misses_least() -> None:
    """Of all single channels, the one whose loss costs two readers together least once the others make up for it."""
    sites = [_site(0), _site(1)]
    elimination = _elimination(*sites)
    elimination.to(0, CHANNELS - 1, 1)
    costs = {c: sum(_best_without(site, (c,)) for site in sites) for c in range(CHANNELS)}
    (gone,) = set(range(CHANNELS)) - set(elimination.left()[0])
    assert gone == min(costs, key=lambda c: costs[c])


def test_what_is_left_is_the_least_squares_map() -> None:
    """After several steps the weights are those of a regression on the channels left, solved anew."""
    site = _site()
    elimination = _elimination(site)
    elimination.to(0, 3, 1)
    (solution,) = elimination.solutions()
    gone = tuple(c for c in range(CHANNELS) if c not in elimination.left()[0])
    deviation = site.original.weight - solution[0]
    found = site.moments.relative_error(deviation)
    assert found == pytest.approx(_best_without(site, gone), rel=1e-3)
    assert all(not solution[0][:, c * EACH : (c + 1) * EACH].any() for c in gone)


def test_sets_are_nested_and_damage_grows() -> None:
    """Fewer channels are some of the ones there were, and predict less."""
    elimination = _elimination(_site())
    seen: list[tuple[set[int], float]] = []
    for count in (6, 5, 3, 2):
        elimination.to(0, count, 2)
        seen.append((set(elimination.left()[0]), elimination.damage()))
    for (more, less_damage), (fewer, damage) in itertools.pairwise(seen):
        assert fewer < more
        assert damage > less_damage


def test_a_copy_of_another_channel_goes_for_nothing() -> None:
    """A channel that equals another one is lost without a trace, and before any other."""
    site = _site()
    twin = _with_twin(site)
    elimination = Elimination([CHANNELS + 1], [(twin, [ReadBlock(0, 0, EACH)])])
    elimination.to(0, CHANNELS, 1)
    (gone,) = set(range(CHANNELS + 1)) - set(elimination.left()[0])
    assert gone in (0, CHANNELS)
    assert elimination.damage() < 1e-4


def _with_twin(site: LinearSite) -> LinearSite:
    """The same problem with channel 0 once more at the end, read with weights of its own."""
    random = torch.Generator().manual_seed(5)
    u = torch.randn(500, CHANNELS * EACH, generator=random)

    def doubled(values: Tensor) -> Tensor:
        return torch.cat([values, values[:, :EACH]], dim=1)

    weight = torch.cat([site.original.weight, torch.randn(OUTPUTS, EACH, generator=random)], dim=1).double()
    original = Linear(weight, torch.zeros(OUTPUTS).double())
    sums = MomentSum(original)
    y = doubled(u) @ weight.float().T
    sums.add(doubled(u[:400]), y[:400])
    return LinearSite.of(Collected(sums, doubled(u[400:]), y[400:]), 1e-6, centred=True)
