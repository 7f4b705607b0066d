"""How long one forward takes on this machine: a number that varies, and therefore only warns."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.machine import device_of, synchroniser
from convsurgeon.runtimes.timer import Effort, Stopwatch, time_in_turn

__all__ = ["latency_ms"]

WARM_UP_S, TIMED_S, FEWEST_RUNS, MOST_RUNS = 0.5, 2.0, 5, 2000


def latency_ms(model: nn.Module, inputs: Inputs) -> float:
    """Median milliseconds of one forward, over two seconds of runs or five of them, after half a second of warm-up.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    watch = Stopwatch(wait=synchroniser(device_of(model)))
    effort = Effort(WARM_UP_S, TIMED_S, FEWEST_RUNS, MOST_RUNS, sample_s=0)
    with torch.inference_mode():
        return time_in_turn([lambda: inputs.call(model)], effort, watch)[0].median_ms
