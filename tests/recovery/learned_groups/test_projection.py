"""The projection: energies in closed form against brute force, targets always met, nothing reopened."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.families.dgconv.unit import relationship_matrix
from convsurgeon.planning.targets import Target
from convsurgeon.recovery.learned_groups import GroupBudget, best_closings, project
from convsurgeon.recovery.learned_groups.projection import kept_energy
from tests.recovery.learned_groups.training import opened


def _plain_kept(energy: torch.Tensor, gates: int, closed: tuple[int, ...]) -> float:
    """The energy under U, with U made by the Kronecker product."""
    mask = relationship_matrix(torch.tensor([float(k not in closed) for k in range(gates)], dtype=torch.float64))
    rows, columns = energy.shape
    mask = mask.repeat_interleave(rows // 2**gates, 0).repeat_interleave(columns // 2**gates, 1)
    return float((energy * mask).sum())


@pytest.mark.parametrize(("rows", "columns", "gates"), [(8, 8, 3), (24, 8, 3), (8, 24, 3), (6, 10, 1), (16, 16, 4)])
def test_kept_energy_is_the_energy_under_the_relationship_matrix(rows: int, columns: int, gates: int) -> None:
    """Subset sums over i XOR j give what U keeps, for every set of open gates."""
    energy = torch.rand(rows, columns, dtype=torch.float64)
    kept = kept_energy(energy, gates)
    for bits in product((0, 1), repeat=gates):
        closed = tuple(k for k in range(gates) if not bits[k])
        index = int("".join(map(str, bits)) or "0", 2)
        assert float(kept[index]) == pytest.approx(_plain_kept(energy, gates, closed))


@given(st.integers(0, 10**6), st.sets(st.integers(0, 3)))
def test_the_best_closing_of_each_size_is_the_best(seed: int, closed: set[int]) -> None:
    """For every number of closed gates around those closed already, no set loses less energy."""
    energy = torch.rand(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = best_closings(energy, 4, frozenset(closed))
    assert [len(closing.closed) for closing in found] == list(range(len(closed), 5))
    for closing in found:
        rivals = [set(c) for c in combinations(range(4), len(closing.closed)) if closed <= set(c)]
        kept = max(_plain_kept(energy, 4, tuple(rival)) for rival in rivals)
        assert closed <= set(closing.closed)
        assert closing.loss == pytest.approx(1 - kept / float(energy.sum()))


_PLAN = opened()[1].plan
_GATES = {"body.0": 4, "last": 4}


@given(st.integers(0, 10**6), st.integers(0, 1000), st.sampled_from(["macs", "params"]), st.data())
def test_the_projection_meets_the_target(seed: int, share: int, metric: str, data: st.DataObject) -> None:
    """Any reachable target is met, whatever is closed already, at the least loss among all ways to meet it."""
    budget = GroupBudget.of(_PLAN, [Target("all", "macs", amount=10**9)])
    low, high = (getattr(budget.cost({n: k * e for n, k in _GATES.items()}), metric) for e in (1, 0))
    amount = low + (high - low) * share // 1000
    budget = GroupBudget.of(_PLAN, [Target("asked", metric, amount=amount)])  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(seed)
    energy = {"body.0": torch.rand(16, 16, generator=random), "last": torch.rand(32, 16, generator=random)}
    closed = {name: frozenset(data.draw(st.sets(st.integers(0, 3)))) for name in _GATES}
    found = project(budget, energy, closed)
    assert getattr(budget.cost({name: len(gates) for name, gates in found.items()}), metric) <= amount
    assert all(closed[name] <= set(found[name]) for name in found)
    menus = {name: best_closings(energy[name], 4, closed[name]) for name in _GATES}
    best = min(
        a.loss + b.loss
        for a, b in product(menus["body.0"], menus["last"])
        if getattr(budget.cost({"body.0": len(a.closed), "last": len(b.closed)}), metric) <= amount
    )
    loss = sum(c.loss for name, gates in found.items() for c in menus[name] if c.closed == gates)
    assert loss == pytest.approx(best, abs=1e-5)


def test_a_target_that_is_met_closes_nothing() -> None:
    """Where the gates learned to meet the target, the projection leaves them as they are."""
    budget = GroupBudget.of(_PLAN, [Target("asked", "macs", amount=10**9)])
    energy = {"body.0": torch.rand(16, 16), "last": torch.rand(32, 16)}
    assert project(budget, energy, {"body.0": frozenset({2}), "last": frozenset()}) == {"body.0": (2,), "last": ()}
