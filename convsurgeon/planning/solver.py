"""The budget solver: one option per part, least total damage, every limit kept, proven optimal by HiGHS.

Parts that share something (the channels between two convolutions) label their options with it: what is picked for
them has to agree.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from convsurgeon.base.errors import ConvsurgeonError

__all__ = ["Infeasible", "Option", "Solution", "solve"]

# HiGHS works in floating point; picks that exceed an integer limit by rounding are cut off and solved again.
_RETRIES = 50
# HiGHS lets a row exceed its bound by 1e-6; bounds of at most 2^20 make that less than one MAC of 10¹².
_ROW_BITS = 20
# An optimum proven to this relative gap: below it the damage figures themselves mean nothing. Where parts have to
# agree, closing the last of it takes most of the time.
_RELATIVE_GAP = 1e-6
_LABELLED_GAP = 1e-3


@dataclass(frozen=True)
class Option:
    """One thing a part may be: integer costs, one per limit, its damage, and what it takes for granted.

    ``labels`` are (name, value) pairs: every part that has labels of a name has to pick the same value of it.
    """

    costs: tuple[int, ...]
    damage: float
    labels: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Solution:
    """The option picked for each part, its total damage, and the relative gap to the proven bound."""

    picks: tuple[int, ...]
    damage: float
    gap: float


@dataclass(frozen=True)
class Infeasible:
    """No choice keeps every limit; ``lowest`` is the least reachable cost for each limit, the others ignored."""

    lowest: tuple[int, ...]


def solve(parts: Sequence[Sequence[Option]], limits: Sequence[int]) -> Solution | Infeasible:
    """Pick one option per part with the least total damage, never over a limit, all labels in agreement.

    Equal inputs give equal picks. Among options of equal cost, damage and labels the earlier one stands.
    """
    kept = [_undominated(options) for options in parts]
    menus = [[part[i] for i in keep] for part, keep in zip(parts, kept, strict=True)]
    if any(low > limit for low, limit in zip(_least(menus, len(limits)), limits, strict=True)):
        return Infeasible(_lowest(menus, len(limits)))
    small_menus, small_limits = _smallest_numbers(menus, limits)
    cuts: list[_Cut] = []
    for _ in range(_RETRIES):
        picks, gap = _milp(small_menus, small_limits, cuts)
        if picks is None:
            return Infeasible(_lowest(menus, len(limits)))
        chosen = [menu[pick] for menu, pick in zip(menus, picks, strict=True)]
        over = [b for b, limit in enumerate(limits) if sum(option.costs[b] for option in chosen) > limit]
        if not over:
            damage = math.fsum(option.damage for option in chosen)
            return Solution(tuple(keep[pick] for keep, pick in zip(kept, picks, strict=True)), damage, gap)
        reduced = [menu[pick] for menu, pick in zip(small_menus, picks, strict=True)]
        cuts += [_Cut(b, tuple(option.costs[b] for option in reduced)) for b in over]
    raise ConvsurgeonError(f"the solver stayed over the limits {list(limits)} by rounding, {_RETRIES} times.")


def _least(menus: Sequence[Sequence[Option]], budgets: int) -> tuple[int, ...]:
    """A bound on the cost for each limit from below: no labels have to agree."""
    return tuple(sum(min(o.costs[b] for o in options) for options in menus) for b in range(budgets))


def _lowest(menus: Sequence[Sequence[Option]], budgets: int) -> tuple[int, ...]:
    """The least reachable cost for each limit, the others ignored."""
    if not any(option.labels for menu in menus for option in menu):
        return _least(menus, budgets)
    return tuple(_cheapest(menus, b) for b in range(budgets))


def _cheapest(menus: Sequence[Sequence[Option]], budget: int) -> int:
    """The least cost of picks that agree: cost takes the damage's place, and nothing is limited."""
    priced = [[replace(option, costs=(), damage=float(option.costs[budget])) for option in menu] for menu in menus]
    picks, _ = _milp(priced, (), ())
    if picks is None:
        raise ConvsurgeonError("no picks of these options agree in their labels.")
    return sum(menu[pick].costs[budget] for menu, pick in zip(menus, picks, strict=True))


@dataclass(frozen=True)
class _Cut:
    """Parts that cost ``costs`` each exceed a limit, so at least one of them must cost less than that."""

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
            replace(option, costs=tuple(cost // divisor for cost, divisor in zip(costs, divisors, strict=True)))
            for costs, option in zip(rows, layer, strict=True)
        ]
        for rows, layer in zip(excess, layers, strict=True)
    ]
    return menus, [(limits[b] - sum(low[b] for low in least)) // divisors[b] for b in budgets]


def _undominated(options: Sequence[Option]) -> list[int]:
    """Indices of options that none with the same labels beats in damage and every cost (the first of equals stays)."""
    alike: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for i, option in enumerate(options):
        alike[option.labels].append(i)

    return sorted(i for group in alike.values() for i in _unbeaten(options, group))


def _unbeaten(options: Sequence[Option], group: Sequence[int]) -> list[int]:
    kept: list[int] = []
    for i in sorted(group, key=lambda i: (options[i].damage, options[i].costs, i)):
        # Whatever beats an option stands before it, or is beaten itself by something that is kept.
        costs = options[i].costs
        if not any(all(x <= y for x, y in zip(options[j].costs, costs, strict=True)) for j in kept):
            kept.append(i)
    return kept


def _milp(
    parts: Sequence[Sequence[Option]], limits: Sequence[int], cuts: Sequence[_Cut]
) -> tuple[list[int] | None, float]:
    """One binary per option; picks per part, or None if infeasible, and the relative gap."""
    # scipy takes a third of a second to import, which conversions without a target need not wait for.
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_matrix

    sizes = [len(part) for part in parts]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    flat = [option for part in parts for option in part]
    one_each = lil_matrix((len(parts), len(flat)))
    for row, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        one_each[row, start : start + size] = 1
    constraints = [LinearConstraint(one_each.tocsr(), 1, 1)]
    if limits:
        # Powers of two, so that scaling rounds nothing.
        scale = np.array([0.5 ** max(int(limit).bit_length() - _ROW_BITS, 0) for limit in limits])
        costs = np.array([[option.costs[b] for option in flat] for b in range(len(limits))], dtype=float)
        constraints.append(LinearConstraint(costs * scale[:, None], -np.inf, np.array(limits, dtype=float) * scale))
    for cut in cuts:
        dear = [o.costs[cut.budget] >= cost for part, cost in zip(parts, cut.costs, strict=True) for o in part]
        constraints.append(LinearConstraint(np.array([dear], dtype=float), -np.inf, len(parts) - 1))
    agreements = _agreements(parts)
    if agreements:
        equal = lil_matrix((len(agreements), len(flat)))
        for row, (here, there) in enumerate(agreements):
            equal[row, here], equal[row, there] = 1, -1
        constraints.append(LinearConstraint(equal.tocsr(), 0, 0))
    damage = np.array([option.damage for option in flat])
    result = milp(
        # HiGHS also stops at an absolute gap of 1e-6, which this scale keeps below the relative one.
        1e4 * damage / max(float(damage.max(initial=0)), 1e-300),
        constraints=constraints,
        integrality=np.ones(len(flat), dtype=int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": _LABELLED_GAP if agreements else _RELATIVE_GAP},
    )
    if result.x is None:
        return None, math.inf
    picks = [int(np.argmax(result.x[s : s + size])) for s, size in zip(starts, sizes, strict=False)]
    return picks, float(result.mip_gap or 0.0)


def _agreements(parts: Sequence[Sequence[Option]]) -> list[tuple[list[int], list[int]]]:
    """Pairs of options (their numbers over all parts) of which as many are picked on one side as on the other.

    One pair for each value of a label in each part that has it, beside the first such part.
    """
    where: dict[str, dict[int, dict[int, list[int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    number = 0
    for index, part in enumerate(parts):
        for option in part:
            for name, value in option.labels:
                where[name][index][value].append(number)
            number += 1
    pairs = []
    for by_part in where.values():
        first, *others = by_part.values()
        for other in others:
            pairs += [(first.get(value, []), other.get(value, [])) for value in sorted({*first, *other})]
    return pairs
