"""All networks of a plot timed in turn, in each runtime, in their deployment form there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.lowering import lower
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import BENCH, Stopwatch, time_in_turn

__all__ = ["RUNTIMES", "milliseconds"]

# With the arithmetic, since OpenVINO takes bfloat16 by itself where the processor has it.
RUNTIMES = {"eager": "float32", "onnxruntime": "float32", "openvino": "float32"}


def milliseconds(networks: Sequence[nn.Module], images: Tensor, runtime: str) -> list[float]:
    """Median ms of one batch ``images`` [N, C, H, W] each, the networks lowered and taken in turn."""
    precision, threads, inputs = RUNTIMES[runtime], torch.get_num_threads(), as_inputs(images)
    forms = [lower(network, images, runtime=runtime, precision=precision).model for network in networks]
    runs = [find_runtime(runtime).prepare(form, inputs, precision=precision, threads=threads) for form in forms]
    return [spread.median_ms for spread in time_in_turn(runs, BENCH, Stopwatch())]
