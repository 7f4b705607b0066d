"""What OpenVINO spends a lowered network's time on, by its own profile: the original and the converted one in turn.

    python -m benchmarks.latency.openvino_profile resnet50 compconv128 --batch 8 --threads 2 --precision float32

One line per kind of operation: milliseconds (median of the runs), as a share of the original's total, and how many
there are. What is no convolution is what a conversion adds: channels joined, picked, scaled, or brought into another
layout. Random weights: nothing here depends on their values.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable

import torch
from torch import nn

import convsurgeon
from benchmarks.latency.subject import Subject, parser_for
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.openvino_conversion import compiled_for, to_openvino
from convsurgeon.runtimes.openvino_package import openvino_core
from convsurgeon.runtimes.registry import find_runtime

WARM_UP, RUNS = 3, 15
Profile = tuple[dict[str, float], Counter[str]]


def profiled(model: nn.Module, inputs: Inputs, precision: str, threads: int) -> Callable[[], Profile]:
    """What runs the network once and gives milliseconds and numbers of operations by kind."""
    converted = to_openvino(model, inputs, free=()).model
    compiled = compiled_for(converted, precision=precision, threads=threads)
    request = compiled.create_infer_request()
    feed = [tensor.numpy() for tensor in inputs.tensors()]

    def run() -> Profile:
        request.infer(feed)
        executed = [step for step in request.profiling_info if step.status == step.Status.EXECUTED]
        spent: dict[str, float] = defaultdict(float)
        for step in executed:
            spent[step.node_type] += step.real_time.total_seconds() * 1e3
        return spent, Counter(step.node_type for step in executed)

    return run


def main() -> None:
    """Print the table."""
    given = parser_for(__doc__, threads=2).parse_args()
    openvino_core().set_property("CPU", {"PERF_COUNT": True})
    precision = given.precision or find_runtime("openvino").preferred(torch.float32)
    subject = Subject.of(given)
    lowered = [
        convsurgeon.lower(network, subject.images, runtime="openvino", precision=precision).model
        for network in (subject.original, subject.converted())
    ]
    runs = [profiled(network, Inputs((subject.images,)), precision, given.threads) for network in lowered]
    rounds = [[run() for run in runs] for _ in range(WARM_UP + RUNS)][WARM_UP:]
    original, converted = ([turn[which] for turn in rounds] for which in (0, 1))
    total = statistics.median(sum(spent.values()) for spent, _ in original)
    print(f"OpenVINO {precision}, batch {given.batch}: the original's operations take {total:.1f} ms")
    for name, samples in (("original", original), ("converted", converted)):
        whole = statistics.median(sum(spent.values()) for spent, _ in samples) / total
        print(f"{name}: {whole:.2f} of it")
        counts = samples[0][1]
        times = {kind: statistics.median(spent[kind] for spent, _ in samples) for kind in counts}
        for kind in sorted(times, key=lambda kind: -times[kind]):
            print(f"    {times[kind]:7.1f} ms  {times[kind] / total:.3f}  {counts[kind]:3} × {kind}")


if __name__ == "__main__":
    main()
