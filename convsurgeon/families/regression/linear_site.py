"""One linear problem of a site, ready for estimates: relative output error on samples that were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from convsurgeon.families.regression.gathering import Collected
from convsurgeon.families.regression.moments import Linear, Moments

__all__ = ["LinearSite"]


@dataclass(frozen=True)
class LinearSite:
    """One site ready for estimates: its weights, moments of the samples to fit on (plain and ridged), held samples.

    All in float32: the ridge keeps the covariances far from singular, and what rounding moves in a candidate's weights
    is far below what it loses. Sums, means and the ridge itself were taken in float64.
    """

    original: Linear
    moments: Moments
    ridged: Moments
    held_u: Tensor
    held_y: Tensor

    @classmethod
    def of(cls, collected: Collected, ridge: float, *, centred: bool) -> LinearSite:
        """From one pass over the data."""
        moments = collected.fitted.moments(centred=centred)
        single, ridged = moments.single(), moments.ridged(ridge).single()
        original = collected.fitted.original.like(single.uu)
        return cls(original, single, ridged, collected.held_u.float(), collected.held_y.float())

    def error(self, weight: Tensor) -> float:
        """Of a linear map [C_out, D], with the bias that the fit gives it."""
        bias = self.moments.bias(self.original, weight) if self.moments.centred else self.original.bias
        return self.error_of(self.held_u @ weight.T + bias)

    def error_of(self, found: Tensor) -> float:
        """Of predictions [Q, C_out] on the held samples."""
        return float((self.held_y - found).square().sum()) / max(self.spread, 1e-30)

    @property
    def level(self) -> Tensor:
        """What is predicted [C_out] where no input says anything."""
        return self.moments.mean_y if self.moments.centred else self.original.bias

    @cached_property
    def cross(self) -> Tensor:
        """Cov(y, u) [C_out, D], ridged."""
        return self.original.weight @ self.ridged.uu + self.ridged.eu

    @cached_property
    def spread(self) -> float:
        """‖y − mean(y)‖² of the held samples."""
        return float((self.held_y - self.held_y.mean(0)).square().sum())
