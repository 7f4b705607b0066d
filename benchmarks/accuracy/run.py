"""Top-1 accuracy after conversion without training, on Fashion-MNIST; resumable, one JSON file per cell.

    python -m benchmarks.accuracy.run                       # everything that is not there yet, then the table
    python -m benchmarks.accuracy.run --net vgg --seed 0 --method igc
    python -m benchmarks.accuracy.run --table-only   # the tables of docs/lab/accuracy.md

The networks are trained first where the cache lacks them (benchmarks.accuracy.train). Calibration, damage and the
rivals' gradients see training images only: 2,048 unlabelled ones (labelled for Torch-Pruning), drawn with the seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.rivals import torch_pruning
from benchmarks.accuracy.tables import CELLS, METHODS, SHARES, Result, results, table
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained, top1
from benchmarks.conversions import plan_key, reachable
from benchmarks.rivals import spatial_svd
from convsurgeon.base.files import write_whole
from convsurgeon.base.inputs import as_inputs
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Damage
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import pose
from convsurgeon.survey.counting import count
from convsurgeon.transfer.agreement import agreement

IMAGES = 2048
BATCH = 128
REFINE_STEPS = 100
# What the others do is to swap.
MOVES = {"auto-narrow": "narrow,streams", "auto-moves": "swap,narrow,streams"}


@dataclass(frozen=True)
class Sample:
    """Training images, drawn with the seed: all that a conversion sees."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, train: Split, seed: int) -> Sample:
        """``IMAGES`` of the 60,000."""
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:IMAGES]
        return cls(train.images[chosen], train.labels[chosen])

    @property
    def example(self) -> Tensor:
        """One input [1, 1, 28, 28]."""
        return self.images[:1]

    def batches(self) -> list[Tensor]:
        """Unlabelled batches."""
        return list(self.images.split(BATCH))


def plan_for(method: str, model: nn.Module, share: float, sample: Sample, seed: int) -> Plan:
    """The plan; a target that a method can't reach becomes its lowest reachable one."""
    if method in MOVES:
        return plan_with_moves(MOVES[method], model, share, sample, seed)
    family = "igc" if method == "random" else method.split("-")[0]
    target = reachable(model, sample.example, family, share)
    if method == "random" or method.endswith(("-weights-only", "-proxy", "-uniform")):
        damage = UNIFORM if method == "igc-uniform" else PROXY
        found = convsurgeon.inspect(model, sample.example)
        return make_plan(pose(found, convsurgeon.Recipe(method=family, target=target)).rated(damage))
    return convsurgeon.plan(
        model, sample.example, method=family, moves="swap", target=target, calibration=sample.batches(), seed=seed
    )


def plan_with_moves(
    moves: str, model: nn.Module, share: float, sample: Sample, seed: int, width_multiple: int | None = None
) -> Plan:
    """The plan that may narrow, which reaches any share of the MACs that is asked for here."""
    return convsurgeon.plan(
        model,
        sample.example,
        moves=moves,
        width_multiple=width_multiple,
        target=f"macs={share:.0%}",
        calibration=sample.batches(),
        seed=seed,
    )


def operate(method: str, model: nn.Module, plan: Plan, sample: Sample, seed: int) -> nn.Module:
    """Carry out a plan the way the method says."""
    calibration = None if method == "random" or method.endswith("-weights-only") else sample.batches()
    return convsurgeon.apply(
        model,
        plan,
        sample.example,
        calibration=calibration,
        refine=REFINE_STEPS if method.endswith("-refined") else 0,
        random_weights=method == "random",
        seed=seed,
    ).model


# Steep enough that the solver keeps the same share everywhere, as far as the widths allow.
UNIFORM = Damage("uniform", lambda site, spec: (site.cost.macs / spec.cost(site.shape, site.positions).macs) ** 8)


def run_cell(net: str, seed: int, method: str, target: float, cache: Path, data: Path) -> Result:
    """Convert and test one network; a plan that another method has carried out already is not carried out twice."""
    model, train, test = load_trained(net, seed, cache), load_train(data), load_test(data)
    sample = Sample.of(train, seed)
    start = time.perf_counter()
    if method == "spatial-svd":
        new, key = spatial_svd(model, sample.example, target), ""
    elif method == "torch-pruning":
        new, key = torch_pruning(model, sample.example, target, sample.images, sample.labels), ""
    else:
        plan = plan_for(method, model, target, sample, seed)
        key = plan_key(plan, fitting_of(method))
        if (twin := find_twin(cache, net, seed, target, key)) is not None:
            return replace(twin, method=method)
        new = operate(method, model, plan, sample, seed)
    seconds = time.perf_counter() - start
    example = as_inputs(sample.example)
    share = count(new, example).macs / count(model, example).macs
    known = next(results(cache, f"{net}-seed{seed}-*"), None)
    before, after = known.before if known else top1(model, test), top1(new.eval(), test)
    close = agreement(model, new, map(as_inputs, test.images.split(500)), held_back=True)
    same, output_error = 100 * (close.top1 or 0.0), 100 * (close.output_error or 0.0)
    threads = torch.get_num_threads()
    return Result(net, seed, method, target, share, before, after, same, output_error, seconds, threads, key)


def fitting_of(method: str) -> str:
    """A word for how the method fits; plans that are alike and fitted alike give one network."""
    return method if method.endswith(("random", "-weights-only", "-refined")) else "calibrated"


def find_twin(cache: Path, net: str, seed: int, target: float, key: str) -> Result | None:
    """A result with the same plan."""
    found = results(cache, f"{net}-seed{seed}-*-{target:.2f}")
    return next((result for result in found if result.plan == key), None)


def wanted(net: str | None, seed: int | None, method: str | None) -> Iterator[tuple[str, int, str, float]]:
    """The cells, cheap methods first."""
    for name in METHODS:
        for cell_net, cell_seed in CELLS:
            if net in (None, cell_net) and seed in (None, cell_seed) and method in (None, name):
                for target in SHARES:
                    yield cell_net, cell_seed, name, target


def result_path(cache: Path, net: str, seed: int, method: str, target: float) -> Path:
    """Where a cell's result is kept."""
    return cache / "results" / f"{net}-seed{seed}-{method}-{target:.2f}.json"


@click.command()
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})))
@click.option("--seed", type=int)
@click.option("--method", type=click.Choice(list(METHODS)))
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
@click.option("--table-only", is_flag=True, help="Print the table of what is there.")
def main(net: str | None, seed: int | None, method: str | None, cache: Path, data: Path, table_only: bool) -> None:
    """Fill the missing cells, then print the table."""
    log = Console(stderr=True)
    for cell in [] if table_only else list(wanted(net, seed, method)):
        path = result_path(cache, *cell)
        if path.is_file():
            continue
        result = run_cell(*cell, cache, data)
        log.print(f"{cell}: {result.before:.2f} → {result.after:.2f} at {result.share:.1%}, {result.seconds:.0f} s")
        write_whole(path, json.dumps(asdict(result), indent=2) + "\n")
    click.echo(table(cache))


if __name__ == "__main__":
    main()
