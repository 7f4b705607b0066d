"""The exact projection: close gates so that the target is met, at the least loss of what the layers compute.

A layer's channels stand in an order in which the first gates lose least, so that the gates to close next are the first
that are open: for each number of closed gates there is one set, and the budget solver picks one number per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.planning.solver import Infeasible, Option, solve
from convsurgeon.recovery.learned_groups.budget import GroupBudget

__all__ = ["Closing", "Lost", "closings", "noise", "project"]

_LEAST_LEFT = 1e-3

# The share of a layer's output that is lost once these gates are closed.
Lost = Callable[[Collection[int]], float]


@dataclass(frozen=True)
class Closing:
    """A set of closed gates, as gate numbers (0 is U_1, the most significant), and the share of the output it loses."""

    closed: tuple[int, ...]
    loss: float


def closings(lost: Lost, gates: int, closed: frozenset[int] = frozenset()) -> tuple[Closing, ...]:
    """``closed`` as it is, then with one more gate after the other, the most significant first, up to all."""
    found = [tuple(sorted(closed))]
    for gate in range(gates):
        if gate not in closed:
            found.append(tuple(sorted((*found[-1], gate))))
    return tuple(Closing(chosen, lost(chosen) if chosen else 0.0) for chosen in found)


def noise(lost: float) -> float:
    """What is lost over what is left of an output.

    Shares themselves end at 1: their sum would give up one layer whole to spare two others a half.
    """
    return lost / max(1 - lost, _LEAST_LEFT)


def project(
    budget: GroupBudget, lost: Mapping[str, Lost], closed: Mapping[str, frozenset[int]]
) -> dict[str, tuple[int, ...]]:
    """The gates to be closed in each layer, those in ``closed`` among them, so that every target is met.

    ``lost`` by layer name. What is least is the sum of the layers' noise beside their signal, see ``noise``.

    Raises:
        ConvsurgeonError: the targets can't be met together, which all gates closed always do.
    """
    menus = [closings(lost[layer.name], layer.gates, closed[layer.name]) for layer in budget.layers]
    options = [
        [Option(tuple(t.of(cost) for t in budget.targets), noise(closing.loss)) for closing, cost in priced]
        for priced in (
            [(closing, layer.cost(len(closing.closed))) for closing in menu]
            for layer, menu in zip(budget.layers, menus, strict=True)
        )
    ]
    answer = solve(options, budget.limits)
    if isinstance(answer, Infeasible):
        raise ConvsurgeonError(f"closing every gate costs {answer.lowest}, over {budget.limits}")
    return {layer.name: menu[pick].closed for layer, menu, pick in zip(budget.layers, menus, answer.picks, strict=True)}
