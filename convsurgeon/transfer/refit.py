"""A layer that lost inputs, fitted anew: least squares from the inputs it still has to the original's outputs."""

from __future__ import annotations

import torch

from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.moments import collect
from convsurgeon.families.regression.samples import Samples
from convsurgeon.transfer.fit import FitResult, linear_of, warning_of
from convsurgeon.transfer.subjects import Subject

__all__ = ["refit"]

# Relative to the mean input power: the plain weights are no good guess at what makes up for lost inputs.
RIDGE = 1e-3
SCARCE = 2


@torch.no_grad()
def refit(subject: Subject, samples: Samples, *, norm_behind: bool) -> FitResult:
    """Write the least-squares weights and bias into ``subject.conv``; a norm behind takes up the bias it lacks."""
    conv, shape = subject.conv, subject.shape
    moments = collect(samples.single(), shape, linear_of(conv)).fitted.moments(centred=shape.bias or norm_behind)
    unknowns = shape.in_channels * shape.area
    ridge = RIDGE * max(1.0, SCARCE * unknowns / max(1, moments.count))
    found = DenseFit.of(linear_of(conv), moments, ridge)
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
