"""The exact projection: close gates so that the target is met, at the least loss of energy.

U_{ij} = 1 unless i and j differ in a bit whose gate is closed, so the energy that a set of open gates keeps depends
on the histogram of the energy over i XOR j alone. Its subset sums give every one of the 2^K sets at once; for each
number of closed gates the best set stays, and the budget solver picks one number per layer, proven optimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.planning.solver import Infeasible, Option, solve
from convsurgeon.recovery.learned_groups.budget import GroupBudget

__all__ = ["Closing", "best_closings", "kept_energy", "project"]


@dataclass(frozen=True)
class Closing:
    """A set of closed gates, as gate numbers (0 is U_1, the most significant), and the share of energy it loses."""

    closed: tuple[int, ...]
    loss: float


def kept_energy(energy: Tensor, gates: int) -> Tensor:
    """Energy [2^K] that each set of open gates keeps; bit K − 1 − k of the index stands for gate k.

    ``energy`` [C_out, C_in] is what each input channel brings to each output.
    """
    size = 2**gates
    rows, columns = energy.shape
    core = energy.double().reshape(size, rows // size, size, columns // size).sum((1, 3))
    number = torch.arange(size)
    kept = core[number[:, None], number[:, None] ^ number[None, :]].sum(0)
    for bit in range(gates):
        pairs = kept.view(-1, 2, 2**bit)
        pairs[:, 1] += pairs[:, 0].clone()
    return kept


def best_closings(energy: Tensor, gates: int, closed: frozenset[int] = frozenset()) -> tuple[Closing, ...]:
    """For every number of closed gates from ``closed`` to all, the set around ``closed`` that loses least energy."""
    kept = kept_energy(energy, gates)
    whole = max(float(kept[-1]), 1e-300)
    must = sum(1 << (gates - 1 - k) for k in closed)
    everything = 2**gates - 1
    best: dict[int, tuple[float, int]] = {}
    for mask, energy_kept in enumerate(kept.tolist()):
        shut = everything & ~mask
        if shut & must == must:
            count = shut.bit_count()
            best[count] = max(best.get(count, (-1.0, 0)), (energy_kept, shut))
    return tuple(
        Closing(tuple(k for k in range(gates) if shut >> (gates - 1 - k) & 1), max(0.0, 1 - energy_kept / whole))
        for _, (energy_kept, shut) in sorted(best.items())
    )


def project(
    budget: GroupBudget, energy: Mapping[str, Tensor], closed: Mapping[str, frozenset[int]]
) -> dict[str, tuple[int, ...]]:
    """The gates to be closed in each layer, those in ``closed`` among them, so that every target is met.

    ``energy`` [C_out, C_in] by layer name. The layers' shares of energy lost are summed and least.

    Raises:
        ConvsurgeonError: the targets can't be met together, which all gates closed always do.
    """
    menus = [best_closings(energy[layer.name], layer.gates, closed[layer.name]) for layer in budget.layers]
    options = [
        [Option(tuple(t.of(cost) for t in budget.targets), closing.loss) for closing, cost in priced]
        for priced in (
            [(closing, layer.cost(len(closing.closed))) for closing in menu]
            for layer, menu in zip(budget.layers, menus, strict=True)
        )
    ]
    answer = solve(options, budget.limits)
    if isinstance(answer, Infeasible):
        raise ConvsurgeonError(f"closing every gate costs {answer.lowest}, over {budget.limits}")
    return {layer.name: menu[pick].closed for layer, menu, pick in zip(budget.layers, menus, answer.picks, strict=True)}
