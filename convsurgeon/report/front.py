"""Which of several results nobody beats, and which of those is the last before quality falls off."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["knee_of", "pareto_front"]

# In shares of the quality's range; what is nearer to the straight line is noise.
_STANDS_OUT = 0.05


def pareto_front(results: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of results (cost, quality) that no other beats: none costs as little and is as good, but for equals.

    In order of cost; of equals only the first.
    """
    order = sorted(range(len(results)), key=lambda i: (results[i][0], -results[i][1], i))
    front: list[int] = []
    for i in order:
        if not front or results[i][1] > results[front[-1]][1]:
            front.append(i)
    return front


def knee_of(front: Sequence[tuple[float, float]]) -> int | None:
    """The index on a front, in order of cost, that lies farthest above the line through its ends; None without one.

    Both axes are stretched to their own range (Satopää et al., Finding a "Kneedle" in a Haystack, 2011).
    """
    if len(front) < 3:
        return None
    (first_cost, first), (last_cost, last) = front[0], front[-1]
    heights = [
        (quality - first) / (last - first) - (cost - first_cost) / (last_cost - first_cost) for cost, quality in front
    ]
    knee = max(range(len(front)), key=lambda i: heights[i])
    return knee if heights[knee] > _STANDS_OUT else None
