"""The search's next steps, on networks that are curves: nothing is fitted here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon.conversion.to_floor.bracket import MOST_PROBES, TOLERANCE, Bracket, wanted_damage
from convsurgeon.planning.floor_search import Probe, Verdict

Curve = Callable[[float], float]


def _damage(share: float) -> float:
    return 1 / share - 1


def _probe(share: float, damage: float, strain: float) -> Probe:
    verdict = Verdict(floor="", measure="agreement", seen=0, bound=None, inputs=0, strain=strain)
    return Probe(share=share, reached=share, macs=0, params=0, damage=damage, verdicts=(verdict,))


def _search(strain: Curve, low: float, high: float, *, proven: bool) -> list[Probe]:
    """As ``find`` does it, on a curve from damage to strain."""
    start, tried = Bracket(low - 1e-9, high, proven), list[Probe]()
    share = min(max(0.5, low), high)
    for number in range(1, MOST_PROBES + 1):
        tried.append(_probe(share, _damage(share), strain(_damage(share))))
        bracket = start.narrowed(tried)
        if bracket.closed or bracket.high <= low:
            break
        guess = 1 / (1 + wanted_damage(tried))
        share = bracket.inside(guess, last=number == MOST_PROBES - 1)
        assert bracket.low < share <= bracket.high
    return tried


@settings(max_examples=200)
@given(st.floats(0.12, 0.9), st.floats(0.4, 2.5))
def test_a_power_law_is_closed_in_on(edge: float, power: float) -> None:
    """Where strain is a power of damage, the smallest budget above the floor is found to five points of the MACs."""
    tried = _search(lambda damage: (damage / _damage(edge)) ** power, 0.05, 1.0, proven=True)
    best = min((one.share for one in tried if one.kept), default=1.0)
    assert edge - 1e-6 <= best <= edge + TOLERANCE + 0.01


@pytest.mark.parametrize("edge", [0.08, 0.3, 0.7])
def test_a_cliff_is_closed_in_on(edge: float) -> None:
    """Where strain says nothing until it is far too much, the bracket still shrinks."""
    tried = _search(lambda damage: 0.3 if damage <= _damage(edge) else 8.0, 0.05, 1.0, proven=True)
    best = min(one.share for one in tried if one.kept)
    assert edge <= best <= edge + 0.12


def test_a_failure_in_between_hides_smaller_networks_and_breaks_no_floor() -> None:
    """Where a larger network fails and a smaller one would not, the search stays above, at one that keeps the floor."""
    tried = _search(lambda damage: 3.0 if 0.9 < damage < 1.5 else 0.5, 0.05, 1.0, proven=True)
    assert not tried[0].kept
    kept = [one.share for one in tried if one.kept]
    assert kept
    assert min(kept) > tried[0].share
    # One that kept the floor lets the search go on below, past what failed above it.
    narrowed = Bracket(0.05, 1.0, True).narrowed([_probe(0.5, 1, 3.0), _probe(0.3, 2, 0.5)])
    assert (narrowed.low, narrowed.high) == (0.05, 0.3)


def test_the_gentlest_plan_is_tried_where_nothing_else_keeps_the_floor() -> None:
    """Beside a target of its own the last probe is the gentlest plan there is; the unchanged network needs none."""
    tried = _search(lambda damage: 5.0, 0.05, 0.6, proven=False)
    assert tried[-1].share == 0.6
    tried = _search(lambda damage: 5.0, 0.05, 1.0, proven=True)
    assert max(one.share for one in tried) < 1.0


def test_the_smallest_budget_of_all_ends_the_search() -> None:
    """Where even that keeps the floor, there is nothing left to look for."""
    tried = _search(lambda damage: 0.01, 0.2, 1.0, proven=True)
    assert tried[-1].share <= 0.2 + TOLERANCE
    assert len(tried) <= 3
