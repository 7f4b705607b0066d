"""A latency plan made in int8 beside one made in float32, in OpenVINO: what each puts where, and both timed in int8.

    OMP_NUM_THREADS=1 python -m benchmarks.int8.planned --net vgg --target 'latency=85%'

On a quiet machine: candidates are timed. The networks are those of benchmarks.accuracy, seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from benchmarks.frontier.networks import SEED
from convsurgeon.base.errors import TargetError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.recipe import Precision
from convsurgeon.runtimes.machine import busy
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import BENCH, time_in_turn
from convsurgeon.transfer.agreement import agreement

RUNTIME = "openvino"
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
LOG = Console(stderr=True)


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted(NETS)), default="vgg", show_default=True)
@click.option("--target", default="latency=85%", show_default=True)
@click.option("--method", default="auto", show_default=True)
@click.option("--moves", default="swap,narrow,streams", show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Images of the timed forward.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, target: str, method: str, moves: str, batch: int, cache: Path, data: Path) -> None:
    """Plan twice, print the plans side by side, their times in int8, and what they keep in float."""
    model, sample = load_trained(net, SEED, cache), Sample.of(load_train(data), SEED)
    if reason := busy():
        LOG.print(reason, markup=False)
    plans: dict[str, Plan] = {}
    for precision in PRECISIONS:
        try:
            plans[precision] = convsurgeon.plan(
                model,
                sample.example,
                method=method,
                target=target,
                runtime=RUNTIME,
                precision=precision,
                latency_batch=batch,
                moves=moves,
                calibration=sample.batches(),
                seed=SEED,
            )
        except TargetError as reason:
            click.echo(f"{precision}: {reason}")
    click.echo(table(plans))
    networks = [_fitted(model, plan, sample) for plan in plans.values()]
    inputs, images = as_inputs(sample.images[:batch]), load_test(data).images.split(500)
    timed = [(model, PRECISIONS[0]), *((network, PRECISIONS[1]) for network in (model, *networks))]
    in_float, whole, *others = _times(timed, inputs)
    click.echo(f"original: {in_float:.2f} ms in float32, {whole:.2f} ms in int8")
    for precision, network, ms in zip(plans, networks, others, strict=True):
        same = agreement(model, network, map(as_inputs, images), held_back=True).top1 or 0.0
        click.echo(f"planned in {precision}: {ms / whole:.0%} of the original's time in int8, same class {same:.2%}")


def _times(networks: Sequence[tuple[nn.Module, str]], inputs: Inputs) -> list[float]:
    """Milliseconds of each network in a precision, all in turn."""
    threads, runtime = torch.get_num_threads(), find_runtime(RUNTIME)
    runs = [runtime.prepare(network, inputs, precision=precision, threads=threads) for network, precision in networks]
    return [spread.median_ms for spread in time_in_turn(runs, BENCH)]


def _fitted(model: nn.Module, plan: Plan, sample: Sample) -> nn.Module:
    done = convsurgeon.apply(model, plan, sample.example, calibration=sample.batches(), seed=SEED)
    return done.model


def table(plans: dict[str, Plan]) -> str:
    """Markdown, a line for each convolution that one of the plans changes."""
    lines = ["| layer | " + " | ".join(f"planned in {precision}" for precision in plans) + " |"]
    lines.append("|---" * (1 + len(plans)) + "|")
    for rows in zip(*(plan.layers for plan in plans.values()), strict=True):
        words = [row.spec.describe() if row.spec else row.action for row in rows]
        if any(row.action in ("replaced", "narrowed") for row in rows):
            lines.append(f"| {rows[0].name} | {' | '.join(words)} |")
    kept = [f"{100 * plan.after.macs / plan.before.macs:.0f} %" for plan in plans.values()]
    return "\n".join([*lines, f"| MACs kept | {' | '.join(kept)} |"])


if __name__ == "__main__":
    main()
