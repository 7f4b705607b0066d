"""How a module's outputs compare with the wanted ones, channel by channel, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Samples

__all__ = ["Assessment", "assess"]

TINY = 1e-30
LEAST_SCALE = 0.05


@dataclass(frozen=True)
class Assessment:
    """Per output channel [C_out]: means and variances of y and ŷ, and their covariance."""

    mean: Tensor
    mean_found: Tensor
    variance: Tensor
    variance_found: Tensor
    covariance: Tensor

    @property
    def scale(self) -> Tensor:
        """Least-squares scale of ŷ; 1 where it is not clearly positive, which no batch norm statistic can express."""
        best = self.covariance / self.variance_found.clamp(min=TINY)
        return torch.where((best > LEAST_SCALE) & (self.variance_found > TINY), best, torch.ones_like(best))

    @property
    def shift(self) -> Tensor:
        """What ``scale``·ŷ lacks in the mean."""
        return self.mean - self.scale * self.mean_found

    def relative_error(self, scale: Tensor | None = None, shift: Tensor | None = None) -> float:
        """‖y − (scale·ŷ + shift)‖² / ‖y − mean(y)‖²."""
        scale = torch.ones_like(self.mean) if scale is None else scale
        shift = torch.zeros_like(self.mean) if shift is None else shift
        spread = self.variance - 2 * scale * self.covariance + scale.square() * self.variance_found
        offset = (self.mean - scale * self.mean_found - shift).square()
        return float((spread.clamp(min=0) + offset).sum()) / max(float(self.variance.sum()), TINY)


def assess(module: nn.Module, samples: Samples, *, held: bool = False) -> Assessment:
    """One pass over the samples fitted on, or over those held out."""
    count, sums = 0, torch.zeros(5, 1, dtype=torch.float64)
    for sample in samples:
        chosen, y = (sample.held, sample.y_held) if held else (sample.chosen, sample.y_chosen)
        found = columns_at(module(sample.x), chosen).double()
        y = y.double()
        count += len(y)
        sums = sums + torch.stack([v.sum(0) for v in (y, found, y * y, found * found, y * found)]).cpu()
    mean, mean_found, square, square_found, product = sums / max(1, count)
    return Assessment(
        mean=mean,
        mean_found=mean_found,
        variance=(square - mean.square()).clamp(min=0),
        variance_found=(square_found - mean_found.square()).clamp(min=0),
        covariance=product - mean * mean_found,
    )
