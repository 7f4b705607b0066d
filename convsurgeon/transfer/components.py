"""The principal components of what a convolution writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Components"]

_TINY, _SMALLEST = 1e-12, 1e-300


@dataclass(frozen=True)
class Components:
    """``mean`` [C], ``variances`` [C] ascending, and ``axes`` [C, C], one in each column; float64, on the CPU."""

    mean: Tensor
    variances: Tensor
    axes: Tensor

    @classmethod
    def of(cls, maps: Iterable[Tensor]) -> Components | None:
        """Of all positions of the maps [N, C, …]; None where there are none, or numbers overflow."""
        count, total, products, origin = 0, torch.tensor(0.0), torch.tensor(0.0), None
        for part in maps:
            rows = part.transpose(0, 1).flatten(1).float()
            # Products of float32 would drown in a mean that is large beside what varies.
            origin = rows.mean(dim=1, keepdim=True) if origin is None else origin
            rows = rows - origin
            count += rows.shape[1]
            total, products = total + rows.sum(dim=1).cpu().double(), products + (rows @ rows.T).cpu().double()
        if origin is None or count == 0:
            return None
        mean = total / count
        covariance = products / count - torch.outer(mean, mean)
        if not bool(covariance.isfinite().all()):
            return None
        variances, axes = torch.linalg.eigh(covariance)
        return cls(mean + origin[:, 0].cpu().double(), variances.clamp(min=0), axes)

    def least(self, share: float) -> Tensor:
        """What takes so much of the variance out of centred values [C, C]: all of the least components, and of the next
        one a part."""
        below = self.variances.cumsum(0)
        left = share * below[-1] - torch.cat((below.new_zeros(1), below[:-1]))
        taken = (left / self.variances.clamp(min=max(float(below[-1]) * _TINY, _SMALLEST))).clamp(0, 1).sqrt()
        return (self.axes * taken) @ self.axes.T
