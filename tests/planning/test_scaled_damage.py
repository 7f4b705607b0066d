"""Damage of swaps in narrowed layers, read from what the whole layer's swaps do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from convsurgeon import Recipe, Site, inspect
from convsurgeon.families.family import Spec
from convsurgeon.planning.narrow_shapes import narrowed_shape
from convsurgeon.planning.options import Choices, Damage
from convsurgeon.planning.problem import pose
from convsurgeon.planning.scaled_damage import at_any_width, macs_share
from convsurgeon.planning.targets import parse_targets


def _whole() -> Choices:
    """What a convolution from 64 to 64 channels may become."""
    found = inspect(nn.Sequential(nn.Conv2d(8, 64, 1), nn.Conv2d(64, 64, 3, padding=1)), torch.zeros(1, 8, 8, 8))
    return pose(found, Recipe(target=parse_targets("macs=50%"))).choices[1]


def _share_damage(site: Site, spec: Spec) -> float:
    """Falls with what is kept; how exactly does not matter here."""
    return (1 - macs_share(site, spec)) ** 2 + 1e-3


def _narrowed(site: Site, gone: tuple[int, int]) -> Site:
    shape = narrowed_shape(site.shape, gone)
    return replace(site, shape=shape, cost=shape.cost(site.positions))


@pytest.mark.parametrize("family", ["spatial", "tucker"])
@pytest.mark.parametrize("gone", [8, 32, 48])
def test_the_same_rank_hurts_as_much_where_fewer_channels_are_read(family: str, gone: int) -> None:
    """What is written has the rank that it had, so that a cheaper layer is no excuse for less of it."""
    whole = _whole()
    damage = at_any_width(Damage("share", _share_damage), [whole])
    narrow = _narrowed(whole.site, (gone, 0))
    options = [option.spec for option in whole.options if option.spec.family == family]
    assert len(options) > 3
    for spec in options:
        assert damage.of(narrow, spec) == pytest.approx(_share_damage(whole.site, spec), rel=0.02)


@pytest.mark.parametrize("gone", [8, 32])
def test_the_same_rank_hurts_less_where_fewer_channels_are_written(gone: int) -> None:
    """Half of the outputs want half of the rank."""
    whole = _whole()
    damage = at_any_width(Damage("share", _share_damage), [whole])
    narrow = _narrowed(whole.site, (0, gone))
    told = [
        (damage.of(narrow, option.spec), _share_damage(whole.site, option.spec))
        for option in whole.options
        if option.spec.family == "spatial"
    ]
    assert all(less is not None and less <= more for less, more in told)
    assert sum(less is not None and less < more for less, more in told) > 3
