"""The budget of learned groups: ζ and o in closed form, what is refused and what its accepted twin is."""

from __future__ import annotations

import math

import pytest
import torch

import convsurgeon
from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.planning.targets import parse_targets
from convsurgeon.recovery.learned_groups import GroupBudget, GroupSettings
from tests.recovery.learned_groups.training import IMAGE, opened

GATES = [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]


def _budget(target: str = "macs=50%", weighting: str = "cost") -> GroupBudget:
    return GroupBudget.of(opened()[1].plan, parse_targets(target), weighting)  # type: ignore[arg-type]


def _gates(budget: GroupBudget, gates: list[int]) -> dict[str, torch.Tensor]:
    return {layer.name: torch.tensor(gates[: layer.gates], dtype=torch.float32) for layer in budget.layers}


@pytest.mark.parametrize("gates", GATES)
def test_zeta_is_the_macs_of_the_gated_layers(gates: list[int]) -> None:
    """Weighted by positions · kernel area, ζ is exactly the MACs of the layers as they would be once hardened."""
    budget = _budget()
    # 16→16 3×3 on 8×8 positions and 16→32 3×3 with stride 2 on 4×4.
    expected = 64 * 9 * 16 * math.prod(1 + g for g in gates) + 16 * 9 * 16 * 2 * math.prod(1 + g for g in gates)
    assert float(budget.zeta(_gates(budget, gates))) == expected
    closed = {layer.name: gates.count(0) for layer in budget.layers}
    assert (budget.cost(closed) - budget.rest).macs == expected


@pytest.mark.parametrize("gates", GATES)
def test_weights_of_one_give_the_published_zeta(gates: list[int]) -> None:
    """ζ = Σ C·∏(1 + g) where C_in = C_out = C, twice that for 16→32; o is the share of it that the target leaves."""
    budget = _budget(weighting="ones")
    assert float(budget.zeta(_gates(budget, gates))) == 3 * 16 * math.prod(1 + g for g in gates)
    dense = budget.cost(dict.fromkeys(("body.0", "last"), 0)).macs - budget.rest.macs
    assert budget.wanted == pytest.approx(3 * 256 * budget.limits[0] / dense)


@pytest.mark.parametrize("target", ["macs=50%", "params=70%"])
def test_the_wanted_complexity_is_what_the_target_leaves(target: str) -> None:
    """ζ = o exactly where the whole network costs what the target allows; biases and kept layers are paid first."""
    budget = _budget(target)
    metric = budget.targets[0].metric
    open_zeta = float(budget.zeta(_gates(budget, [1] * 4)))
    whole = getattr(budget.cost({layer.name: 0 for layer in budget.layers}), metric)
    assert budget.wanted == budget.targets[0].limit(budget.original) - (whole - open_zeta)


def test_the_lowest_reachable_target_is_accepted_and_less_is_not() -> None:
    """A target below what all gates closed cost is refused with the reachable range; that cost itself is accepted."""
    plan = opened()[1].plan
    budget = _budget()
    low = budget.cost({layer.name: layer.gates for layer in budget.layers}).macs
    assert GroupBudget.of(plan, parse_targets(f"macs={low}")).limits == (low - budget.rest.macs,)
    with pytest.raises(TargetError, match=r"can't be reached by the groups of 2 layers\. Reachable: macs from .* to "):
        GroupBudget.of(plan, parse_targets(f"macs={low - 1}"))


def test_a_plan_without_open_gates_is_refused() -> None:
    """A plan that groups at once has nothing to learn; the same conversion with open gates has."""
    net, done = opened()
    grouped = convsurgeon.plan(net, IMAGE, method="dgconv", target="macs=50%")
    assert len(GroupBudget.of(done.plan, parse_targets("macs=50%")).layers) == 2
    with pytest.raises(UsageError, match="needs layers with open gates, and this 'dgconv' plan has none"):
        GroupBudget.of(grouped, parse_targets("macs=50%"))


def test_a_target_is_needed() -> None:
    """Without a target there is nothing to learn towards."""
    with pytest.raises(TargetError, match="learning groups needs a target"):
        GroupBudget.of(opened()[1].plan, ())


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ({"learn_share": 0.0}, {"learn_share": 1.0}),
        ({"freeze_from": 1.1}, {"freeze_from": 1.0}),
        ({"travel": -0.1}, {"travel": 0.1}),
        ({"exponent": 0.02}, {"exponent": 0.0}),
        ({"offset": -1.0}, {"offset": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, float], good: dict[str, float]) -> None:
    """Shares lie in (0, 1], and cost over the budget never lowers the loss."""
    assert GroupSettings(**good) != GroupSettings()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"{next(iter(bad))}.* is {next(iter(bad.values()))}|expected"):
        GroupSettings(**bad)  # type: ignore[arg-type]
