"""Top-1 accuracy at equal latency, without training: each method planned for the target, channels pruned to the same.

    python -m benchmarks.accuracy.at_latency --net vgg --seed 0 --target 70

Latencies are eager ones of this machine, on one batch; all networks are timed in turn at the end. Run it on an idle
machine. Networks, calibration and rivals are those of benchmarks.accuracy.run.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from rich.console import Console
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.rivals import torch_pruning
from benchmarks.accuracy.run import Sample, operate
from benchmarks.accuracy.tables import CELLS, METHODS
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained, top1
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.deployment.lowering.choice import stopwatch_for
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import BENCH, QUICK, Effort, time_in_turn
from convsurgeon.survey.counting import count

FAMILIES = ("auto", "igc", "compconv", "dgconv")
BATCH = 64
BISECTIONS = 7
LOG = Console(stderr=True)


def milliseconds(networks: list[nn.Module], sample: Sample, effort: Effort) -> list[float]:
    """Medians of one batch each, in turn."""
    x = sample.images[:BATCH]
    eager, threads = find_runtime("eager"), torch.get_num_threads()
    runs = [eager.prepare(network, Inputs((x,)), precision="float32", threads=threads) for network in networks]
    return [spread.median_ms for spread in time_in_turn(runs, effort, stopwatch_for(x.device))]


def pruned_to(model: nn.Module, share: float, sample: Sample) -> nn.Module | None:
    """Torch-Pruning: the widest network found that takes ``share`` of the original's time, or None."""
    low, high, best = 0.0, 1.0, None
    for _ in range(BISECTIONS):
        macs = (low + high) / 2
        try:
            found = torch_pruning(model, sample.example, macs, sample.images, sample.labels).eval()
        except convsurgeon.UsageError as error:
            LOG.print(f"Torch-Pruning: {error}", markup=False)
            break
        before, after = milliseconds([model, found], sample, QUICK)
        if after <= share * before:
            low, best = macs, found
        else:
            high = macs
    return best


def planned_to(method: str, model: nn.Module, target: int, sample: Sample, seed: int) -> tuple[nn.Module, float] | None:
    """The converted network and the measured damage of its plan; None where the target can't be reached."""
    try:
        plan = convsurgeon.plan(
            model,
            sample.example,
            method=method,
            moves="swap",
            target=f"latency={target}%",
            calibration=sample.batches(),
            latency_batch=BATCH,
            seed=seed,
        )
    except convsurgeon.UsageError as error:
        LOG.print(f"{method}: {error}", markup=False)
        return None
    damage = sum(layer.damage or 0.0 for layer in plan.replaced)
    return operate(method, model, plan, sample, seed).eval(), damage


@click.command()
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--target", type=click.IntRange(1, 99), default=70, show_default=True, help="Percent of the latency.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, target: int, cache: Path, data: Path) -> None:
    """Print one table."""
    model, test = load_trained(net, seed, cache).eval(), load_test(data)
    sample = Sample.of(load_train(data), seed)
    networks: dict[str, tuple[nn.Module, float | None]] = {"original": (model, None)}
    for method in FAMILIES:
        found = planned_to(method, model, target, sample, seed)
        if found is not None:
            networks[METHODS[method]] = found
    if (rival := pruned_to(model, target / 100, sample)) is not None:
        networks[METHODS["torch-pruning"]] = rival, None
    times = milliseconds([network for network, _ in networks.values()], sample, BENCH)
    whole = count(model, as_inputs(sample.example)).macs
    click.echo(
        f"{net}, seed {seed}, eager, batch {BATCH}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    click.echo("| method | latency kept | MACs kept | measured damage | top-1, % |")
    click.echo("|---|---|---|---|---|")
    for (name, (network, damage)), time in zip(networks.items(), times, strict=True):
        macs = count(network, as_inputs(sample.example)).macs
        lost = "" if damage is None else f"{damage:.3f}"
        click.echo(f"| {name} | {time / times[0]:.1%} | {macs / whole:.1%} | {lost} | {top1(network, test):.2f} |")


if __name__ == "__main__":
    main()
