"""What images that a fit does not see say of it. Positions of one image say much the same: their number says little."""

from __future__ import annotations

from dataclasses import replace

from convsurgeon.families.regression.gathering import Collected
from convsurgeon.families.regression.moments import Linear, Moments

__all__ = ["left_on_held", "with_held"]


def left_on_held(linear: Linear, collected: Collected) -> float:
    """‖y − ŷ‖² of a linear map on the samples held out."""
    found = linear.like(collected.held_u)
    left = collected.held_y - collected.held_u @ found.weight.T - found.bias
    return float(left.double().square().sum())


def with_held(moments: Moments, collected: Collected) -> Moments:
    """The moments, whose covariance it takes over, with the samples held out among them."""
    original, u, y = collected.fitted.original, collected.held_u.double(), collected.held_y.double()
    e = y - u @ original.weight.T - original.bias
    count = moments.count + len(u)
    share, each = moments.count / count, 1 / count
    moved_u, moved_y, moved_e = (
        (values - mean).sum(0) * each
        for values, mean in ((u, moments.mean_u), (y, moments.mean_y), (e, moments.mean_e))
    )
    yy = moments.yy * share + (y - moments.mean_y).square().sum(0) * each - moved_y.square()
    # Deviations from the means so far, whose own move comes off again; raw moments are only added up.
    centred = float(moments.centred)
    u, e = u - centred * moments.mean_u, e - centred * moments.mean_e
    return replace(
        moments,
        count=count,
        mean_u=moments.mean_u + moved_u,
        mean_y=moments.mean_y + moved_y,
        mean_e=moments.mean_e + moved_e,
        uu=moments.uu.mul_(share).addmm_(u.T, u, alpha=each).addr_(moved_u, moved_u, alpha=-centred),
        eu=(moments.eu * share).addmm_(e.T, u, alpha=each).addr_(moved_e, moved_u, alpha=-centred),
        ee=moments.ee * share + e.square().sum(0) * each - centred * moved_e.square(),
        yy=yy,
    )
