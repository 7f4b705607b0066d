"""A value that is known at some shares of a layer's MACs, interpolated between them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ShareCurve"]

# A share of MACs this little below the least known one is still taken for it.
_SLACK = 0.02
_LEAST = 1e-9


@dataclass(frozen=True)
class ShareCurve:
    """Positive values by the share of MACs that is kept, ascending."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> ShareCurve:
        """A curve through (share, value) points in any order."""
        return cls(tuple(sorted(points)))

    def at(self, share: float) -> float | None:
        """Linear in the value's logarithm; None below the least share, and the last value above the largest."""
        points = self.points
        if not points or share < points[0][0] * (1 - _SLACK):
            return None
        above = bisect_left(points, (share, -math.inf))
        if above in (0, len(points)):
            return points[min(above, len(points) - 1)][1]
        (left, low), (right, high) = points[above - 1], points[above]
        part = (share - left) / (right - left) if right > left else 1.0
        return math.exp((1 - part) * math.log(max(low, _LEAST)) + part * math.log(max(high, _LEAST)))
