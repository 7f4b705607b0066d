"""What outputs lose that CompConv's tail derives, each from one channel of a feature map."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.moments import CHUNK_BYTES, Linear, flat_mean
from convsurgeon.families.regression.patches import patches_at
from convsurgeon.families.regression.samples import Samples

__all__ = ["TailMoments"]

RIDGE = 1e-3


class TailMoments:
    """Moments of ``outputs`` [n] against the patch that the tail's kernel sees of each channel [c] of a feature map.

    ``shape`` is that of the tail on all c channels; ``centred``: a bias takes the means.
    """

    def __init__(
        self,
        samples: Samples,
        outputs: int,
        shape: ConvShape,
        features: Callable[[Tensor], Tensor],
        *,
        centred: bool,
    ) -> None:
        channels, area = shape.in_channels, shape.area
        self.cross = torch.zeros(outputs, channels, area, dtype=torch.float64)
        self.own = torch.zeros(channels, area, area, dtype=torch.float64)
        self.mean_u = torch.zeros(channels, area, dtype=torch.float64)
        self.mean_y = torch.zeros(outputs, dtype=torch.float64)
        self.from_u, self.from_y = self.mean_u.clone(), self.mean_y.clone()
        self.centred, count = centred, 0
        rows = max(1, CHUNK_BYTES // (4 * area * channels))
        for sample in samples:
            features_map = features(sample.x)
            for chosen, y in zip(torch.split(sample.chosen, rows), torch.split(sample.y_chosen, rows), strict=True):
                u = patches_at(features_map, shape, chosen)
                if self.centred and not count and len(u):
                    self.from_u, self.from_y = flat_mean(u).view(channels, area), flat_mean(y)
                u, y = u.view(-1, channels, area) - self.from_u.to(u), y - self.from_y.to(y)
                self.cross += (y.T @ u.flatten(1)).view(-1, channels, area).double().cpu()
                self.own += torch.bmm(u.permute(1, 2, 0), u.permute(1, 0, 2)).double().cpu()
                self.mean_u += u.double().sum(0).cpu()
                self.mean_y += y.double().sum(0).cpu()
                count += len(u)
        self._average(max(count, 1))

    def _average(self, count: int) -> None:
        self.mean_u /= count
        self.mean_y /= count
        self.cross /= count
        self.own /= count
        if self.centred:
            self.cross -= self.mean_y[:, None, None] * self.mean_u
            self.own -= self.mean_u[:, :, None] * self.mean_u[:, None, :]
        self.mean_u += self.from_u
        self.mean_y += self.from_y
        power = self.own.diagonal(dim1=1, dim2=2).mean(1)
        self.own += torch.diag_embed((RIDGE * power).clamp(min=1e-20)[:, None].expand(self.mean_u.shape))

    def gains(self) -> Tensor:
        """Variance [c, n] of each output that each channel's patch explains."""
        solved = torch.linalg.solve(self.own, self.cross.permute(1, 2, 0))
        return (solved * self.cross.permute(1, 2, 0)).sum(1)

    def kernels(self) -> Linear:
        """Kernels [n, area] and biases that derive output k from channel k."""
        each = torch.arange(len(self.cross))
        weight = torch.linalg.solve(self.own[each], self.cross[each, each])
        return Linear(weight, self.mean_y - (weight * self.mean_u[each]).sum(1))
