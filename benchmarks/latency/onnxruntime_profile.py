"""What ONNX Runtime runs of a narrowed network, by its own profile: each operation with its shapes, in order.

    python -m benchmarks.accuracy.train vgg --seed 0      # once
    python -m benchmarks.latency.onnxruntime_profile --net vgg --percent 25 --width-multiple 8

One line for each operation: microseconds (the least of the runs), its kind, and the shapes of what it reads and writes.
Fresh weights, since no time depends on them; one thread.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from benchmarks.accuracy.data import DEFAULT_DIR, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.run import Sample, plan_with_moves
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.inputs import as_inputs
from convsurgeon.runtimes.onnx_conversion import feed_for, to_onnx
from convsurgeon.surgery.operate import operate

BATCH, RUNS = 32, 100


def operations(model: nn.Module, images: torch.Tensor) -> list[dict[str, Any]]:
    """The profile's events of all runs."""
    import onnxruntime

    inputs = as_inputs(images)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        content = to_onnx(model, inputs, free=(), first="TorchScript").content
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, feed_for(session, inputs))
        found: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text())
    return [event for event in found if event["name"].endswith("_kernel_time")]


def table(events: list[dict[str, Any]]) -> str:
    """One line for each operation, in the order in which they run."""
    times: dict[str, list[int]] = defaultdict(list)
    words: dict[str, str] = {}
    for event in events:
        args = event["args"]
        read, written = (
            [shape for one in args[f"{end}_type_shape"] for shape in one.values()] for end in ("input", "output")
        )
        times[event["name"]].append(event["dur"])
        words[event["name"]] = f"{args['op_name']:18} {' '.join(map(str, read[:2]))} → {written[0]}"
    return "\n".join(f"{min(took):6} µs  {words[name]}" for name, took in times.items())


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted(NETS)), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--percent", type=int, default=25, show_default=True, help="Of the MACs.")
@click.option("--width-multiple", type=int, help="Of channels that narrowed streams keep.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, percent: int, width_multiple: int | None, cache: Path, data: Path) -> None:
    """Plan, operate, run and print."""
    model, sample = load_trained(net, seed, cache), Sample.of(load_train(data), seed)
    plan = plan_with_moves("swap,narrow,streams", model, percent / 100, sample, seed, width_multiple)
    click.echo(table(operations(operate(model, plan, seed=seed).eval(), sample.images[:BATCH])))


if __name__ == "__main__":
    main()
