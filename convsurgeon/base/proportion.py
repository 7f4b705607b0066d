"""What a share of so many images is worth."""

from __future__ import annotations

from math import sqrt

__all__ = ["interval", "no_better_than_chance"]

_Z = 1.96


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was seen in ``count`` images."""
    if count < 1:
        return 0.0, 1.0
    spread = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / spread
    reach = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / spread
    return max(0.0, centre - reach), min(1.0, centre + reach)


def no_better_than_chance(share: float, count: int, classes: int) -> bool:
    """Whether guessing among so many classes could well have been right as often."""
    chance = 1 / max(1, classes)
    return count > 0 and classes > 1 and share <= chance + 2 * sqrt(chance * (1 - chance) / count)
