"""The projection: one chain of gate sets a layer, targets always met at the least noise, nothing reopened."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.planning.targets import Target
from convsurgeon.recovery.learned_groups import GroupBudget, closings, project
from convsurgeon.recovery.learned_groups.projection import Lost, noise
from tests.recovery.learned_groups.training import opened

_PLAN = opened()[1].plan
_GATES = {"body.0": 4, "last": 4}
_LOSSES = st.lists(st.floats(0, 1), min_size=5, max_size=5)


def _by_number(losses: list[float]) -> Lost:
    return lambda closed: losses[len(closed)]


@given(st.sets(st.integers(0, 3)))
def test_gates_close_from_the_most_significant_one_on(closed: set[int]) -> None:
    """Around those closed already one open gate after the other closes, in U's order; no closed gate loses nothing."""

    def lost(gates: Collection[int]) -> float:
        return sum(2.0**-gate for gate in gates)

    found = closings(lost, 4, frozenset(closed))
    order = [gate for gate in range(4) if gate not in closed]
    assert [set(closing.closed) for closing in found] == [closed | set(order[:n]) for n in range(len(order) + 1)]
    assert [closing.loss for closing in found] == [lost(closing.closed) for closing in found]


@given(_LOSSES, _LOSSES, st.integers(0, 1000), st.sampled_from(["macs", "params"]), st.data())
def test_the_projection_meets_the_target(
    body: list[float], last: list[float], share: int, metric: str, data: st.DataObject
) -> None:
    """Any reachable target is met, whatever is closed already, at the least noise among all ways to meet it."""
    budget = GroupBudget.of(_PLAN, [Target("all", "macs", amount=10**9)])
    low, high = (getattr(budget.cost({n: k * e for n, k in _GATES.items()}), metric) for e in (1, 0))
    amount = low + (high - low) * share // 1000
    budget = GroupBudget.of(_PLAN, [Target("asked", metric, amount=amount)])  # type: ignore[arg-type]
    lost = {"body.0": _by_number(body), "last": _by_number(last)}
    closed = {name: frozenset(data.draw(st.sets(st.integers(0, 3)))) for name in _GATES}
    found = project(budget, lost, closed)
    assert getattr(budget.cost({name: len(gates) for name, gates in found.items()}), metric) <= amount
    assert all(closed[name] <= set(found[name]) for name in found)
    menus = {name: closings(lost[name], 4, closed[name]) for name in _GATES}
    best = min(
        noise(a.loss) + noise(b.loss)
        for a, b in product(menus["body.0"], menus["last"])
        if getattr(budget.cost({"body.0": len(a.closed), "last": len(b.closed)}), metric) <= amount
    )
    found_noise = sum(noise(c.loss) for name, gates in found.items() for c in menus[name] if c.closed == gates)
    assert found_noise == pytest.approx(best, rel=1e-5, abs=1e-5)


def test_a_target_that_is_met_closes_nothing() -> None:
    """Where the gates learned to meet the target, the projection leaves them as they are."""
    budget = GroupBudget.of(_PLAN, [Target("asked", "macs", amount=10**9)])
    lost = {name: _by_number([0.0, 0.1, 0.2, 0.3, 0.4]) for name in _GATES}
    assert project(budget, lost, {"body.0": frozenset({2}), "last": frozenset()}) == {"body.0": (2,), "last": ()}


def test_no_layer_is_given_up_to_spare_two() -> None:
    """Two layers that lose half of their outputs cost less than one that loses nearly all of it."""
    assert noise(0.5) + noise(0.5) < noise(0.96)
    assert 0.5 + 0.5 > 0.96
