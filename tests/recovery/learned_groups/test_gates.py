"""The gates' own steps: who moves, who closes, who is frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn

from convsurgeon.recovery.learned_groups.gates import Gates

ONES = {"a": torch.ones(2, dtype=torch.float64), "b": torch.ones(2, dtype=torch.float64)}


def _gates(values: Mapping[str, list[float]]) -> tuple[Gates, dict[str, nn.Parameter]]:
    latent = {name: nn.Parameter(torch.tensor(value)) for name, value in values.items()}
    return Gates(latent), latent


def _pull(latent: Mapping[str, nn.Parameter], gradients: Mapping[str, list[float]]) -> None:
    for name, gradient in gradients.items():
        latent[name].grad = torch.tensor(gradient)


def _at_most(number: int) -> Callable[[Mapping[str, int]], bool]:
    """Gates must close until ``number`` are closed."""
    return lambda closed: sum(closed.values()) < number


def test_gates_move_against_their_gradients() -> None:
    """The typical gate moves by the rate, one of half its gradient by half of it, none beyond ±1."""
    gates, latent = _gates({"a": [0.5, 0.5], "b": [0.5, 1.0]})
    _pull(latent, {"a": [0.02, 0.01], "b": [0.02, -0.02]})
    gates.step(0.1, ONES, _at_most(0))
    torch.testing.assert_close(latent["a"].detach(), torch.tensor([0.4, 0.45]))
    torch.testing.assert_close(latent["b"].detach(), torch.tensor([0.4, 1.0]))


def test_pulls_are_weighed_by_what_a_gate_costs() -> None:
    """Of two equal gradients the one of the dearer gate counts less: less loss per unit of cost."""
    gates, latent = _gates({"a": [0.5, 0.5], "b": [0.5, 0.5]})
    _pull(latent, {"a": [0.02, 0.02], "b": [0.02, 0.02]})
    dear = {"a": torch.ones(2, dtype=torch.float64), "b": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    gates.step(0.1, dear, _at_most(0))
    torch.testing.assert_close(latent["b"].detach(), torch.tensor([0.4, 0.45]))


def test_the_budget_closes_the_least_wanted_gates() -> None:
    """As many gates close as the budget asks for, those of the lowest value; the others stay open at the brink."""
    gates, latent = _gates({"a": [0.3, 0.02], "b": [0.01, 0.05]})
    _pull(latent, {"a": [0.1, 0.1], "b": [0.1, 0.1]})
    gates.step(0.1, ONES, _at_most(2))
    assert gates.closed() == {"a": frozenset({1}), "b": frozenset({0})}
    assert latent["b"].tolist()[1] == 0
    assert latent["a"].tolist()[0] == pytest.approx(0.2)


def test_a_closed_gate_that_is_missed_opens_again() -> None:
    """A closed gate with the strongest upward pull opens, and another closes for it."""
    gates, latent = _gates({"a": [-0.05, 0.1], "b": [0.9, 0.9]})
    _pull(latent, {"a": [-0.3, 0.1], "b": [0.1, 0.1]})
    gates.step(0.1, ONES, _at_most(1))
    assert gates.closed() == {"a": frozenset({1}), "b": frozenset()}


def test_frozen_gates_stay_and_the_most_decided_freeze_first() -> None:
    """Half frozen: the two furthest from the brink keep their values while the others move; all frozen: none moves."""
    gates, latent = _gates({"a": [0.9, -0.8], "b": [0.3, 0.4]})
    gates.freeze(0.5)
    assert gates.frozen_share() == 0.5
    _pull(latent, {"a": [0.1, -0.1], "b": [0.1, 0.1]})
    gates.step(0.1, ONES, _at_most(4))
    assert latent["a"].tolist() == pytest.approx([0.9, -0.8])
    assert max(latent["b"].tolist()) < 0.3
    gates.freeze(1.0)
    before = latent["b"].tolist()
    gates.step(0.1, ONES, _at_most(4))
    assert latent["b"].tolist() == before


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    """A step whose gradients overflowed (half precision) leaves the gates alone; a finite one moves them."""
    gates, latent = _gates({"a": [0.5, 0.5]})
    for bad, stays in ((float("inf"), True), (1.0, False)):
        _pull(latent, {"a": [1.0, bad]})
        gates.step(0.1, ONES, _at_most(0))
        assert (latent["a"].tolist() == [0.5, 0.5]) is stays


def test_gates_learn_on_from_where_they_begin() -> None:
    """Chosen gates are closed, the others open, and each of them moves on from there."""
    gates, latent = _gates({"a": [1.0, 1.0], "b": [1.0, 1.0]})
    gates.begin({"a": (1,), "b": ()})
    assert gates.closed() == {"a": frozenset({1}), "b": frozenset()}
    before = latent["a"].tolist()
    _pull(latent, {"a": [0.1, 0.1], "b": [0.1, 0.1]})
    gates.step(0.1, ONES, _at_most(1))
    assert latent["a"].tolist() == pytest.approx([before[0] - 0.1, before[1] - 0.1])
