"""A layer that lost inputs, fitted anew: least squares from the inputs it still has to the original's outputs."""

from __future__ import annotations

import torch

from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.gathering import Collected, collect
from convsurgeon.families.regression.moments import Linear, Moments
from convsurgeon.families.regression.samples import Samples
from convsurgeon.transfer.fit import FitResult, linear_of, warning_of
from convsurgeon.transfer.subjects import Subject

__all__ = ["refit"]

# Relative to the mean input power: the plain weights are no good guess at what makes up for lost inputs.
RIDGE = 1e-3
SCARCE = 2
# Positions of one image say much the same, so how far few images can be trusted is told by others.
STEPS = (1, 10, 100, 1000)


@torch.no_grad()
def refit(subject: Subject, samples: Samples, *, norm_behind: bool) -> FitResult:
    """Write the least-squares weights and bias into ``subject.conv``; a norm behind takes up the bias it lacks.

    The ridge is the one that leaves least on the images that ``samples`` hold out.
    """
    conv, shape = subject.conv, subject.shape
    collected = collect(samples.single(), shape, linear_of(conv))
    moments = collected.fitted.moments(centred=shape.bias or norm_behind)
    unknowns = shape.in_channels * shape.area
    found = _best(linear_of(conv), moments, collected)
    conv.weight.copy_(found.linear.weight.view_as(conv.weight))
    if conv.bias is not None:
        conv.bias.copy_(found.linear.bias)
    return FitResult(
        error=float(found.errors.sum()) / max(float(moments.yy.sum()), 1e-30),
        samples=moments.count,
        unknowns=unknowns,
        warning=warning_of(moments.count, unknowns),
        shift=found.linear.bias if norm_behind and not shape.bias else None,
    )


def _best(original: Linear, moments: Moments, collected: Collected) -> DenseFit:
    """The fit with the ridge that leaves least on the held samples; with the smallest where there are none."""
    unknowns, (held_u, held_y) = original.weight.shape[1], (collected.held_u.double(), collected.held_y.double())
    least = RIDGE * max(1.0, SCARCE * unknowns / max(1, moments.count))

    def left(fit: DenseFit) -> float:
        return float((held_y - held_u @ fit.linear.weight.T - fit.linear.bias).square().sum())

    fits = (DenseFit.of(original, moments, step * least) for step in STEPS)
    return min(fits, key=left) if len(held_u) else next(fits)
