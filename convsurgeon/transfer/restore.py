"""What stands in for a dropped branch, fitted: the least-squares scale and shift of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.families.regression.moments import TINY
from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Samples
from convsurgeon.transfer.fit import FitResult

__all__ = ["restore"]

# Relative to the mean input power: what hardly varies is no ground for a large scale.
RIDGE = 1e-3


@torch.no_grad()
def restore(unit: nn.Module, samples: Samples) -> FitResult:
    """Write scales and shifts into ``unit``, a depthwise 1×1 convolution, so that it gives what the branch gave."""
    sums, count = None, 0
    for sample in samples.single():
        x, y = columns_at(sample.x, sample.chosen).cpu().double(), sample.y_chosen.cpu().double()
        more = torch.stack((x, y, x * x, x * y, y * y)).sum(1)
        sums, count = more if sums is None else sums + more, count + len(x)
    if sums is None or not count:
        return FitResult(None, 0, 1, None)
    mean_x, mean_y, xx, xy, yy = sums / count
    power, spread = (xx - mean_x**2).clamp(min=0), (yy - mean_y**2).clamp(min=0)
    shared = xy - mean_x * mean_y
    scale = shared / (power + RIDGE * power.mean()).clamp(min=TINY)
    _write(unit, scale, mean_y - scale * mean_x)
    lost = (spread - 2 * scale * shared + scale**2 * power).sum()
    return FitResult(float(lost) / max(float(spread.sum()), TINY), count, 1, None)


def _write(unit: nn.Module, scale: Tensor, shift: Tensor) -> None:
    weight, bias = unit.get_parameter("weight"), unit.get_parameter("bias")
    weight.copy_(scale.view_as(weight))
    bias.copy_(shift)
