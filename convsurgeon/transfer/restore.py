"""What stands in for a dropped branch, fitted by least squares: a map, or the scale and shift of each channel."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.families.regression.moments import TINY
from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Samples
from convsurgeon.transfer.fit import FitResult
from convsurgeon.transfer.layers import as_conv
from convsurgeon.transfer.refit import RIDGE, refit
from convsurgeon.transfer.subjects import Subject

__all__ = ["restore"]


def restore(unit: nn.Module, samples: Samples) -> FitResult:
    """Write into ``unit``, a 1×1 convolution of zeros, the weights that bring it nearest to what the branch gave.

    A ridge, relative to the mean input power, shrinks them towards zero.
    """
    shape = as_conv(unit)[1]
    if shape.groups == 1:
        return refit(Subject("", shape, unit, unit, None, reads_less=True), samples, norm_behind=False)
    return _scale(unit, samples)


@torch.no_grad()
def _scale(unit: nn.Module, samples: Samples) -> FitResult:
    """Every channel by itself."""
    sums, count = torch.zeros(()), 0
    for sample in samples.single():
        x, y = columns_at(sample.x, sample.chosen).cpu().double(), sample.y_chosen.cpu().double()
        sums, count = sums + torch.stack((x, y, x * x, x * y, y * y)).sum(1), count + len(x)
    if not count:
        return FitResult(None, 0, 1, None)
    mean_x, mean_y, xx, xy, yy = sums / count
    power, spread = (xx - mean_x**2).clamp(min=0), (yy - mean_y**2).clamp(min=0)
    shared = xy - mean_x * mean_y
    scale = shared / (power + RIDGE * power.mean()).clamp(min=TINY)
    weight, bias = unit.get_parameter("weight"), unit.get_parameter("bias")
    weight.copy_(scale.view_as(weight))
    bias.copy_(mean_y - scale * mean_x)
    lost = (spread - 2 * scale * shared + scale**2 * power).sum()
    return FitResult(float(lost) / max(float(spread.sum()), TINY), count, 1, None)
