"""The budget solver: one option per layer, least total damage, every limit kept, proven optimal by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Infeasible", "Option", "Solution", "solve"]

# HiGHS works in floating point; a solution that exceeds an integer limit by rounding is refused and solved again.
_RETRIES = 5
# An optimum proven to this relative gap: below it the damage figures themselves mean nothing.
_RELATIVE_GAP = 1e-6


@dataclass(frozen=True)
class Option:
    """One thing a layer may be: integer costs, one per limit, and its damage."""

    costs: tuple[int, ...]
    damage: float


@dataclass(frozen=True)
class Solution:
    """The option picked for each layer, its total damage, and the relative gap to the proven bound."""

    picks: tuple[int, ...]
    damage: float
    gap: float


@dataclass(frozen=True)
class Infeasible:
    """No choice keeps every limit; ``lowest`` is the least reachable cost for each limit, the others ignored."""

    lowest: tuple[int, ...]


def solve(layers: Sequence[Sequence[Option]], limits: Sequence[int]) -> Solution | Infeasible:
    """Pick one option per layer with the least total damage, never over a limit.

    Equal inputs give equal picks. Among options of equal cost and damage the earlier one stands.
    """
    lowest = tuple(sum(min(o.costs[b] for o in options) for options in layers) for b in range(len(limits)))
    if any(low > limit for low, limit in zip(lowest, limits, strict=True)):
        return Infeasible(lowest)
    kept = [_undominated(options) for options in layers]
    tightened = list(limits)
    for _ in range(_RETRIES):
        picks, gap = _milp([[layer[i] for i in keep] for layer, keep in zip(layers, kept, strict=True)], tightened)
        if picks is None:
            return Infeasible(lowest)
        chosen = tuple(keep[pick] for keep, pick in zip(kept, picks, strict=True))
        excess = [
            sum(layer[i].costs[b] for layer, i in zip(layers, chosen, strict=True)) - limit
            for b, limit in enumerate(limits)
        ]
        if all(e <= 0 for e in excess):
            damage = math.fsum(layer[i].damage for layer, i in zip(layers, chosen, strict=True))
            return Solution(chosen, damage, gap)
        tightened = [t - max(e, 0) for t, e in zip(tightened, excess, strict=True)]
    return Infeasible(lowest)


def _undominated(options: Sequence[Option]) -> list[int]:
    """Indices of options that no other beats in damage and every cost (the first of equals stays)."""

    def beats(a: int, b: int) -> bool:
        left = (options[a].damage, *options[a].costs)
        right = (options[b].damage, *options[b].costs)
        return all(x <= y for x, y in zip(left, right, strict=True)) and (left != right or a < b)

    everyone = range(len(options))
    return [i for i in everyone if not any(beats(j, i) for j in everyone if j != i)]


def _milp(layers: Sequence[Sequence[Option]], limits: Sequence[int]) -> tuple[list[int] | None, float]:
    """One binary per option; picks per layer, or None if infeasible, and the relative gap."""
    # scipy takes a third of a second to import, which conversions without a target need not wait for.
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_matrix

    sizes = [len(layer) for layer in layers]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    flat = [option for layer in layers for option in layer]
    one_each = lil_matrix((len(layers), len(flat)))
    for row, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        one_each[row, start : start + size] = 1
    costs = np.array([[option.costs[b] for option in flat] for b in range(len(limits))], dtype=float)
    scale = np.maximum(np.array(limits, dtype=float), 1.0)
    damage = np.array([option.damage for option in flat])
    result = milp(
        # HiGHS also stops at an absolute gap of 1e-6, which this scale keeps below the relative one.
        1e4 * damage / max(float(damage.max(initial=0)), 1e-300),
        constraints=[
            LinearConstraint(one_each.tocsr(), 1, 1),
            LinearConstraint(costs / scale[:, None], -np.inf, 1.0),
        ],
        integrality=np.ones(len(flat), dtype=int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": _RELATIVE_GAP},
    )
    if result.x is None:
        return None, math.inf
    picks = [int(np.argmax(result.x[s : s + size])) for s, size in zip(starts, sizes, strict=False)]
    return picks, float(result.mip_gap or 0.0)
