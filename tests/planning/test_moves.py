"""Swaps beside the other moves, in MACs, parameters and time, with damages and times drawn at random."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon import Recipe, Site, inspect
from convsurgeon.base.errors import TargetError
from convsurgeon.families.family import Spec
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import Damage
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.planning.targets import parse_targets
from convsurgeon.planning.widths import Widths
from tests.conversion.time_table import PLACE
from tests.nets import IMAGE, Plain

FOUND = inspect(Plain(), torch.zeros(IMAGE))
POSED = pose(FOUND, Recipe(moves=("swap", "narrow"), target=parse_targets("macs=50%")))


def _drawn(seed: int, site: Site, spec: Spec | None) -> float:
    """Between 0 and 1, the same for the same layer, shape and unit."""
    return random.Random(f"{seed} {site.name} {site.shape} {spec}").random()


def _problem(seed: int, target: str) -> Problem:
    """Every open stream may keep all, three quarters or half of its channels."""
    drawn = random.Random(seed)
    widths = [
        Widths(
            (stream,),
            tuple((tuple(range(stream.channels * parts // 4)),) for parts in (4, 3, 2)),
            (0.0, *sorted((drawn.random(), drawn.random()))),
            (0,),
        )
        for stream in FOUND.streams
        if stream.closed is None
    ]
    damage = Damage("drawn", lambda site, spec: _drawn(seed, site, spec))
    return replace(POSED, targets=parse_targets(target)).rated(damage).narrowing(widths, ())


def _times(seed: int) -> Latencies:
    """A convolution's time lies within half and all of its MACs, in picoseconds, and a unit's is up to as much."""

    def of(site: Site, spec: Spec | None) -> int:
        conv = site.cost.macs * (1 + _drawn(seed, site, None)) / 2
        return round(conv if spec is None else conv * _drawn(seed + 1, site, spec))

    return Latencies(PLACE, 1, of, FOUND.total.macs)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(15, 90), st.sampled_from(["macs", "params", "latency"]))
def test_more_moves_are_never_behind_swaps_alone(seed: int, percent: int, metric: str) -> None:
    """What swaps alone reach all moves reach, with no more damage than the solver's gap."""
    problem, times = _problem(seed, f"{metric}={percent}%"), _times(seed) if metric == "latency" else None
    try:
        swaps = make_plan(problem.narrowing((), ()), times)
    except TargetError:
        return
    assert make_plan(problem, times).damage <= swaps.damage * (1 + 1e-3) + 1e-9
