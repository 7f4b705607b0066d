"""Pairs of outputs: one computed, the other derived from it. A perfect matching of nearly greatest weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

__all__ = ["best_pairs"]

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MOST_ROUNDS = 30


def best_pairs(gain: Matrix, computed: int) -> tuple[Indices, Indices]:
    """Split nodes into ``computed`` sources and the rest, each of which gets a source of its own.

    ``gain`` [n, n] holds what deriving column j from row i saves, finite off the diagonal; n ≤ 2·computed.
    Returns ``(sources [computed], derived [n − computed])``, where derived[k] is derived from sources[k]. Greedy by
    weight, then rounds of exact re-assignment between the two sides and exchanges between two pairs, until nothing
    improves.
    """
    pairs = _exchange(gain, _greedy(gain, len(gain) - computed))
    for _ in range(MOST_ROUNDS):
        before = float(gain[pairs[:, 0], pairs[:, 1]].sum())
        rows, columns = linear_sum_assignment(gain[np.ix_(pairs[:, 0], pairs[:, 1])], maximize=True)
        assigned = np.stack([pairs[rows, 0], pairs[columns, 1]], axis=1)
        pairs = _exchange(gain, assigned)
        if np.array_equal(pairs, assigned):
            break
        # Gains may be negative throughout, and so may their sum.
        if gain[pairs[:, 0], pairs[:, 1]].sum() <= before + 1e-9 * abs(before):
            break
    single = np.setdiff1d(np.arange(len(gain)), pairs)
    return np.concatenate([pairs[:, 0], single]), pairs[:, 1]


def _greedy(gain: Matrix, count: int) -> Indices:
    """The ``count`` heaviest disjoint pairs, as if taken one by one.

    A pair in which each side is the other's best is taken by the greedy choice sooner or later, whatever else is; so
    all such pairs are taken at once, and the heaviest ``count`` stay.
    """
    either = np.maximum(gain, gain.T)
    np.fill_diagonal(either, -np.inf)
    free = np.arange(len(gain))
    found = [np.empty((0, 2), dtype=np.int64)]
    while len(free) > 1:
        best = either[np.ix_(free, free)].argmax(axis=1)
        mutual = np.flatnonzero((best[best] == np.arange(len(free))) & (np.arange(len(free)) < best))
        if not len(mutual):
            raise ValueError("gains must be finite off the diagonal")
        found.append(np.stack([free[mutual], free[best[mutual]]], axis=1))
        free = np.setdiff1d(free, found[-1])
    pairs = np.concatenate(found)
    heaviest = np.argsort(-either[pairs[:, 0], pairs[:, 1]], kind="stable")[:count]
    pairs = pairs[heaviest]
    return _forward(gain, pairs)


def _exchange(gain: Matrix, pairs: Indices) -> Indices:
    """Let two pairs swap partners (in either direction) while that gains; each round takes disjoint best swaps."""
    either = np.maximum(gain, gain.T)
    changed = np.arange(len(pairs))
    better = np.zeros((len(pairs), len(pairs)))
    for _ in range(MOST_ROUNDS):
        # A swap moves the gains of the two pairs in it alone.
        better[changed] = _gains_of_swaps(either, pairs, changed)
        better[:, changed] = better[changed].T
        own = either[pairs[:, 0], pairs[:, 1]]
        swapped = _disjoint(better, 1e-12 * max(1.0, float(np.abs(own).max(initial=0.0))))
        if not swapped:
            break
        pairs = pairs.copy()
        for p, q in swapped:
            (a, b), (c, d) = pairs[p], pairs[q]
            across = either[a, d] + either[c, b] >= either[a, c] + either[b, d]
            pairs[p], pairs[q] = ((a, d), (c, b)) if across else ((a, c), (b, d))
        changed = np.array(sorted({p for pair in swapped for p in pair}))
    return _forward(gain, pairs)


def _gains_of_swaps(either: Matrix, pairs: Indices, some: Indices) -> Matrix:
    """What each of ``some`` pairs [m] gains by swapping partners with every pair [n]: [m, n], nothing with itself."""
    a, b = pairs[:, 0], pairs[:, 1]
    left, right = either[a[some]], either[b[some]]
    own = either[a, b]
    crossed = left[:, b] + right[:, a]  # a_p–b_q and a_q–b_p
    alike = left[:, a] + right[:, b]  # a_p–a_q and b_p–b_q
    better: Matrix = np.maximum(crossed, alike) - own[some, None] - own[None, :]
    better[np.arange(len(some)), some] = 0.0
    return better


def _forward(gain: Matrix, pairs: Indices) -> Indices:
    """Each pair in the direction that gains more."""
    forward = gain[pairs[:, 0], pairs[:, 1]] >= gain[pairs[:, 1], pairs[:, 0]]
    turned: Indices = np.where(forward[:, None], pairs, pairs[:, ::-1])
    return turned


def _disjoint(better: Matrix, least: float) -> list[tuple[int, int]]:
    """Greatest improvements first, each pair in one swap only."""
    rows, columns = np.nonzero(np.triu(better, 1) > least)
    used: set[int] = set()
    swaps: list[tuple[int, int]] = []
    for k in np.argsort(-better[rows, columns], kind="stable"):
        p, q = int(rows[k]), int(columns[k])
        if p not in used and q not in used:
            used.update((p, q))
            swaps.append((p, q))
    return swaps
