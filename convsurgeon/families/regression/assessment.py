"""How a module's outputs compare with the wanted ones, channel by channel, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Samples

__all__ = ["Assessment", "assess", "assess_both"]

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


def assess(module: nn.Module, samples: Samples) -> Assessment:
    """One pass over the samples fitted on."""
    sums = _Sums()
    for sample in samples:
        sums.add(columns_at(module(sample.x), sample.chosen), sample.y_chosen)
    return sums.assessment()


def assess_both(module: nn.Module, samples: Samples) -> tuple[Assessment, Assessment]:
    """One pass: over the samples fitted on, and over those held out."""
    fitted, held = _Sums(), _Sums()
    for sample in samples:
        found = module(sample.x)
        fitted.add(columns_at(found, sample.chosen), sample.y_chosen)
        held.add(columns_at(found, sample.held), sample.y_held)
    return fitted.assessment(), held.assessment()


class _Sums:
    """Running sums of y, ŷ and their products, output by output."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = torch.zeros(5, 1, dtype=torch.float64)

    def add(self, found: Tensor, wanted: Tensor) -> None:
        """Add samples ŷ and y [P, C_out]."""
        found, y = found.double(), wanted.double()
        self._count += len(y)
        self._sums = self._sums + torch.stack([v.sum(0) for v in (y, found, y * y, found * found, y * found)]).cpu()

    def assessment(self) -> Assessment:
        """Means, variances and covariances of all samples added."""
        mean, mean_found, square, square_found, product = self._sums / max(1, self._count)
        return Assessment(
            mean=mean,
            mean_found=mean_found,
            variance=(square - mean.square()).clamp(min=0),
            variance_found=(square_found - mean_found.square()).clamp(min=0),
            covariance=product - mean * mean_found,
        )
