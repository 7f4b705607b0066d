from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from convsurgeon.families.compconv import pairing
from convsurgeon.families.compconv.pairing import best_pairs
from convsurgeon.families.dgconv.partition import partitions


def best_by_trying(gain: np.ndarray, computed: int) -> float:
    """The weight of the best split and matching, by trying all."""
    n = len(gain)
    best = -np.inf
    for sources in itertools.combinations(range(n), computed):
        rest = [i for i in range(n) if i not in sources]
        for chosen in itertools.permutations(sources, len(rest)):
            best = max(best, float(sum(gain[s, d] for s, d in zip(chosen, rest, strict=True))))
    return best


@settings(max_examples=40)
@given(nodes=st.integers(2, 7), seed=st.integers(0, 10**6))
def test_pairs_are_nearly_the_best(nodes: int, seed: int) -> None:
    """Every node is computed or derived, each derived one has a source of its own, and the weight is near the best."""
    gain = np.random.default_rng(seed).random((nodes, nodes))
    np.fill_diagonal(gain, -np.inf)
    computed = -(-nodes // 2)
    sources, derived = best_pairs(gain, computed)
    assert sorted([*sources, *derived]) == list(range(nodes))
    assert len(sources) == computed
    reached = sum(gain[s, d] for s, d in zip(sources, derived, strict=False))
    assert reached >= 0.8 * best_by_trying(gain, computed)


@pytest.mark.parametrize("offset", [0.0, -10.0])
def test_the_search_ends_when_nothing_improves(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gains that are negative throughout lead to the same pairs, and to no more rounds than positive ones."""
    gain = np.random.default_rng(0).random((40, 40))
    np.fill_diagonal(gain, -np.inf)
    plain = best_pairs(gain, 20)
    rounds = 0

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal rounds
        rounds += 1
        return linear_sum_assignment(*args, **kwargs)

    monkeypatch.setattr(pairing, "linear_sum_assignment", counting)
    shifted = best_pairs(gain + offset, 20)
    assert rounds < pairing.MOST_ROUNDS
    assert all(np.array_equal(a, b) for a, b in zip(plain, shifted, strict=True))


def test_outputs_that_are_all_alike_are_paired() -> None:
    """Equal gains everywhere, as dead channels have them, still give disjoint pairs."""
    sources, derived = best_pairs(np.zeros((7, 7)), 4)
    assert sorted([*sources, *derived]) == list(range(7))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_a_partition_keeps_all_energy_of_hidden_groups(groups: int) -> None:
    """Where channels are grouped under a permutation, halving finds the groups again."""
    random = np.random.default_rng(groups)
    rows, columns = random.permutation(32) % groups, random.permutation(16) % groups
    energy = (rows[:, None] == columns[None, :]) * random.random((32, 16))
    found = partitions(energy, groups, seed=0)[groups]
    assert found.kept(energy) == pytest.approx(energy.sum())
    assert sorted(found.inputs.flatten()) == list(range(16))
    assert sorted(found.outputs.flatten()) == list(range(32))


def test_a_partition_of_noise_keeps_more_than_its_share() -> None:
    """Without hidden groups, the partition still keeps more energy than a partition at random."""
    energy = np.random.default_rng(0).random((32, 32)) ** 4
    assert partitions(energy, 4, seed=0)[4].kept(energy) > 1.3 * energy.sum() / 4


def test_fewer_groups_do_not_depend_on_how_many_follow() -> None:
    """One run of halving gives every number of groups what a run up to that number gives, each inside of the last."""
    energy = np.random.default_rng(3).random((16, 8))
    found = partitions(energy, 8, seed=0)
    assert list(found) == [1, 2, 4, 8]
    for groups in (1, 2, 4):
        alone = partitions(energy, groups, seed=0)[groups]
        assert (alone.inputs == found[groups].inputs).all()
        assert (alone.outputs == found[groups].outputs).all()
        wider = [set(inputs) for inputs in alone.inputs]
        assert all(any(set(finer) <= inputs for inputs in wider) for finer in found[2 * groups].inputs)
