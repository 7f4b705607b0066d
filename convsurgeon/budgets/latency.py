"""How long one forward takes on this machine: a number that varies, and therefore only warns."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from convsurgeon.inputs import Inputs

__all__ = ["latency_ms"]

WARM_UP_S, TIMED_S, FEWEST_RUNS = 0.5, 2.0, 5


def latency_ms(model: nn.Module, inputs: Inputs) -> float:
    """Median milliseconds of one forward, over two seconds of runs or five of them, after half a second of warm-up.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    with torch.inference_mode():
        _timed(model, inputs, WARM_UP_S, 1)
        return statistics.median(_timed(model, inputs, TIMED_S, FEWEST_RUNS))


def _timed(model: nn.Module, inputs: Inputs, seconds: float, fewest: int) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < fewest or time.perf_counter() < end:
        start = time.perf_counter()
        inputs.call(model)
        times.append((time.perf_counter() - start) * 1000)
    return times
