"""What outputs lose as copies of input channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families.compconv.unit import at_centres
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Samples

__all__ = ["Copies"]


@dataclass(frozen=True)
class Copies:
    """Means over the samples: E(y·x) [C_out, C_in], x being the input at the centre of what each output sees;
    E(x), E(x²) [2, C_in] and E(y), E(y²) [2, C_out]."""

    product: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, samples: Samples, shape: ConvShape) -> Copies:
        """One pass."""
        product = torch.zeros(shape.out_channels, shape.in_channels, dtype=torch.float64)
        x_sums, y_sums, count = (
            torch.zeros(2, shape.in_channels).double(),
            torch.zeros(2, shape.out_channels).double(),
            0,
        )
        for sample in samples:
            copies = at_centres(sample.x, shape)
            x, y = columns_at(copies, sample.chosen).double().cpu(), sample.y_chosen.double().cpu()
            product += y.T @ x
            x_sums += torch.stack([x.sum(0), x.square().sum(0)])
            y_sums += torch.stack([y.sum(0), y.square().sum(0)])
            count += len(x)
        return cls(*(sums / max(1, count) for sums in (product, x_sums, y_sums)))

    @property
    def power(self) -> Tensor:
        """Variances [C_in] of the inputs."""
        return (self.x[1] - self.x[0].square()).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        """Variances [C_out] of the outputs."""
        return (self.y[1] - self.y[0].square()).clamp(min=0)

    def lost(self, *, norm_behind: bool) -> Tensor:
        """What each output loses as a copy of each input channel [C_out, C_in].

        ``norm_behind``: a batch norm behind takes the means and any positive scale.
        """
        if not norm_behind:
            return self.y[1][:, None] + self.x[1] - 2 * self.product
        covariance = (self.product - torch.outer(self.y[0], self.x[0])).clamp(min=0)
        return self.variance[:, None] - covariance.square() / self.power.clamp(min=1e-30)
