"""The budget solver: one option per layer, least total damage, every limit kept, proven optimal by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convsurgeon.base.errors import ConvsurgeonError

__all__ = ["Infeasible", "Option", "Solution", "solve"]

# HiGHS works in floating point; picks that exceed an integer limit by rounding are cut off and solved again.
_RETRIES = 50
# HiGHS lets a row exceed its bound by 1e-6; bounds of at most 2^20 make that less than one MAC of 10¹².
_ROW_BITS = 20
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
    menus = [[layer[i] for i in keep] for layer, keep in zip(layers, kept, strict=True)]
    small_menus, small_limits = _smallest_numbers(menus, limits)
    cuts: list[_Cut] = []
    for _ in range(_RETRIES):
        picks, gap = _milp(small_menus, small_limits, cuts)
        if picks is None:
            return Infeasible(lowest)
        chosen = [menu[pick] for menu, pick in zip(menus, picks, strict=True)]
        over = [b for b, limit in enumerate(limits) if sum(option.costs[b] for option in chosen) > limit]
        if not over:
            damage = math.fsum(option.damage for option in chosen)
            return Solution(tuple(keep[pick] for keep, pick in zip(kept, picks, strict=True)), damage, gap)
        reduced = [menu[pick] for menu, pick in zip(small_menus, picks, strict=True)]
        cuts += [_Cut(b, tuple(option.costs[b] for option in reduced)) for b in over]
    raise ConvsurgeonError(f"the solver stayed over the limits {list(limits)} by rounding, {_RETRIES} times.")


@dataclass(frozen=True)
class _Cut:
    """Layers that cost ``costs`` each exceed a limit, so at least one of them must cost less than that."""

    budget: int
    costs: tuple[int, ...]


def _smallest_numbers(
    layers: Sequence[Sequence[Option]], limits: Sequence[int]
) -> tuple[list[list[Option]], list[int]]:
    """The same problem in the smallest integers: each layer's least cost taken off, common divisors taken out."""
    least = [tuple(min(costs) for costs in zip(*(o.costs for o in layer), strict=True)) for layer in layers]
    budgets = range(len(limits))
    excess = [
        [[option.costs[b] - low[b] for b in budgets] for option in layer]
        for layer, low in zip(layers, least, strict=True)
    ]
    divisors = [math.gcd(*(costs[b] for layer in excess for costs in layer)) or 1 for b in budgets]
    menus = [
        [
            Option(tuple(cost // divisor for cost, divisor in zip(costs, divisors, strict=True)), option.damage)
            for costs, option in zip(rows, layer, strict=True)
        ]
        for rows, layer in zip(excess, layers, strict=True)
    ]
    return menus, [(limits[b] - sum(low[b] for low in least)) // divisors[b] for b in budgets]


def _undominated(options: Sequence[Option]) -> list[int]:
    """Indices of options that no other beats in damage and every cost (the first of equals stays)."""

    def beats(a: int, b: int) -> bool:
        left = (options[a].damage, *options[a].costs)
        right = (options[b].damage, *options[b].costs)
        return all(x <= y for x, y in zip(left, right, strict=True)) and (left != right or a < b)

    everyone = range(len(options))
    return [i for i in everyone if not any(beats(j, i) for j in everyone if j != i)]


def _milp(
    layers: Sequence[Sequence[Option]], limits: Sequence[int], cuts: Sequence[_Cut]
) -> tuple[list[int] | None, float]:
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
    # Powers of two, so that scaling rounds nothing.
    scale = np.array([0.5 ** max(int(limit).bit_length() - _ROW_BITS, 0) for limit in limits])
    costs = np.array([[option.costs[b] for option in flat] for b in range(len(limits))], dtype=float)
    constraints = [
        LinearConstraint(one_each.tocsr(), 1, 1),
        LinearConstraint(costs * scale[:, None], -np.inf, np.array(limits, dtype=float) * scale),
    ]
    for cut in cuts:
        dear = [o.costs[cut.budget] >= cost for layer, cost in zip(layers, cut.costs, strict=True) for o in layer]
        constraints.append(LinearConstraint(np.array([dear], dtype=float), -np.inf, len(layers) - 1))
    damage = np.array([option.damage for option in flat])
    result = milp(
        # HiGHS also stops at an absolute gap of 1e-6, which this scale keeps below the relative one.
        1e4 * damage / max(float(damage.max(initial=0)), 1e-300),
        constraints=constraints,
        integrality=np.ones(len(flat), dtype=int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": _RELATIVE_GAP},
    )
    if result.x is None:
        return None, math.inf
    picks = [int(np.argmax(result.x[s : s + size])) for s, size in zip(starts, sizes, strict=False)]
    return picks, float(result.mip_gap or 0.0)
