"""Where to look next: budgets that keep the floor, and budgets that fail, close in on the smallest that keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convsurgeon.planning.floor_search import Probe

__all__ = ["MOST_PROBES", "TOLERANCE", "Bracket", "wanted_damage"]

MOST_PROBES = 6
# In shares of the original: a bracket as narrow as this is not worth another probe.
TOLERANCE = 0.05
# The strain that is aimed at: a probe just above the floor helps more than one just below it.
_AIM = 0.85
# A probe keeps this far from the ends of its bracket, in shares of its width, so that a wrong guess still halves it.
_MARGIN = 0.15
# Below the smallest budget that keeps the floor nothing is known; nobody leaps further down than to this share of it.
_LEAP = 0.4
# Damage is a prediction: strain grows with a power of it, between these; nothing is known of it after one probe.
_SLOPES, _FIRST_SLOPE = (0.3, 3.0), 0.5
# Strain below this is not told from none: few inputs judge a network that differs on none of them to use up nothing.
_LEAST = 0.1


@dataclass(frozen=True)
class Bracket:
    """Shares between which the answer lies: what is at most ``low`` fails, ``high`` keeps the floor.

    ``proven`` tells whether that is known of ``high``: of the unchanged network, or of one that was judged.
    """

    low: float
    high: float
    proven: bool

    def narrowed(self, tried: Sequence[Probe]) -> Bracket:
        """The bracket after these probes. A failure speaks for all smaller budgets: their predicted damage is larger.

        Where strain does not grow with damage a smaller network may be missed; one that failed is never returned.
        """
        kept = min((one.reached for one in tried if one.kept), default=None)
        high = self.high if kept is None else min(self.high, kept)
        failed = [one.share for one in tried if not one.kept and one.share < high]
        return Bracket(max([self.low, *failed]), high, self.proven or kept is not None)

    @property
    def closed(self) -> bool:
        """Whether nothing worth a probe is left in it."""
        return self.proven and self.high - self.low <= TOLERANCE

    def inside(self, share: float, *, last: bool) -> float:
        """The nearest share worth a probe; the ``last`` one should find a network if any is to be had."""
        if not self.proven:
            # The gentlest plan is worth a probe, for without it nothing may be found at all.
            gap = _MARGIN * (self.high - self.low)
            return self.high if last or share >= self.high - gap else max(share, self.low + gap)
        margin = _MARGIN * (self.high - self.low)
        return min(max(share, self.low + margin, _LEAP * self.high), self.high - margin)


def wanted_damage(tried: Sequence[Probe]) -> float:
    """The predicted damage at which the strain is expected to be just below 1, from what was tried.

    Strain is taken to be a power of damage, through the networks next to the floor on either side of it, or the two
    that came nearest.
    """
    kept = max((one for one in tried if one.kept), key=lambda one: one.damage, default=None)
    missed = min((one for one in tried if not one.kept), key=lambda one: one.damage, default=None)
    near = sorted(tried, key=lambda one: abs(math.log(_strain(one))))
    first, other = (kept, missed) if kept and missed else (near[0], near[-1])
    slope = _FIRST_SLOPE
    if first.damage > 0 and other.damage > 0 and first.damage != other.damage:
        rise = math.log(_strain(other) / _strain(first)) / math.log(other.damage / first.damage)
        slope = min(max(rise, _SLOPES[0]), _SLOPES[1])
    return first.damage * (_AIM / _strain(first)) ** (1 / slope)


def _strain(one: Probe) -> float:
    return max(one.strain, _LEAST)
