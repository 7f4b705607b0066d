"""Layer-wise refinement by gradient, for what closed forms can't reach (CompConv's stages feed one another).

After its fit, one module at a time learns on the samples it was fitted on; the batch norm behind keeps what the fit
gave it. The result replaces the fit where it is nearer to the original on those samples, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn

from convsurgeon.families.regression.assessment import assess
from convsurgeon.families.regression.patches import columns_at
from convsurgeon.families.regression.samples import Sample, Samples
from convsurgeon.transfer.fit import FitResult
from convsurgeon.transfer.stand_in import own_copy

__all__ = ["refine"]

# Adam moves each weight by about its rate; relative to the weights' size, so that no layer needs rates of its own.
RATE = 0.02


def refine(module: nn.Module, samples: Samples, result: FitResult, *, steps: int) -> FitResult:
    """Train ``module`` in place for ``steps`` batches of its samples; returns the result with the error that is left.

    Minimises ‖y − (scale·ŷ + shift)‖² with the fit's scale and shift, by Adam along a cosine, in float32.
    """
    seen = samples.single()
    work = own_copy(module).float().requires_grad_(True)
    with torch.no_grad():
        before = assess(work, seen).relative_error(result.scale, result.shift)
    optimizer = torch.optim.Adam([{"params": [p], "lr": _rate(p)} for p in work.parameters()])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    with torch.enable_grad():
        for sample in islice(_endlessly(seen), steps):
            optimizer.zero_grad()
            _error(work, sample, result).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        after = assess(work, seen).relative_error(result.scale, result.shift)
    # Not a number is no improvement either.
    if not after < before:
        return result
    module.load_state_dict(work.state_dict())
    return replace(result, error=after)


def _rate(parameter: Tensor) -> float:
    return RATE * max(float(parameter.detach().square().mean().sqrt()), 1e-6)


def _endlessly(samples: Samples) -> Iterator[Sample]:
    """Batches that have something to fit on, again and again; none where no batch has."""
    found = True
    while found:
        found = False
        for sample in samples:
            if len(sample.chosen):
                found = True
                yield sample


def _error(module: nn.Module, sample: Sample, result: FitResult) -> Tensor:
    found = columns_at(module(sample.x), sample.chosen)
    if result.scale is not None:
        found = found * result.scale.to(found)
    if result.shift is not None:
        found = found + result.shift.to(found)
    return (sample.y_chosen - found).square().mean() / sample.y_chosen.var(correction=0).clamp(min=1e-30)
