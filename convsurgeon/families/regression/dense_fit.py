"""The best dense map of one convolution: what fits by stages are cut from, the same for all units of a site."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convsurgeon.families.regression.linear_algebra import factor, solve_right
from convsurgeon.families.regression.moments import Linear, Moments

__all__ = ["DenseFit"]


@dataclass(frozen=True)
class DenseFit:
    """``linear``, what it leaves of each output (``errors`` [C_out]), and the ``covariance`` [C_out, C_out] of what it
    gives; ``variance`` [C_out] is that of the wanted outputs. ``centred``: a bias takes the means."""

    linear: Linear
    errors: Tensor
    covariance: Tensor
    variance: Tensor
    centred: bool

    @classmethod
    def of(cls, original: Linear, moments: Moments, ridge: float) -> DenseFit:
        """Least squares, shrunk towards the ``original`` by white power of ``ridge`` times the mean input power.

        Computed in the moments' dtype; what comes of it is float64.
        """
        start = original.like(moments.uu)
        correction = solve_right(moments.eu, factor(moments.ridged(ridge).uu))
        weight = start.weight + correction
        bias = moments.bias(start, weight) if moments.centred else start.bias
        return cls(
            linear=Linear(weight.double(), bias.double()),
            errors=moments.errors(-correction).double(),
            covariance=(weight @ moments.uu @ weight.T).double(),
            variance=moments.yy.double(),
            centred=moments.centred,
        )
