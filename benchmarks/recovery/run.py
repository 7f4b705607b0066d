"""Top-1 accuracy after conversion and equal training, on Fashion-MNIST; resumable, one JSON file per cell.

    python -m benchmarks.recovery.run                       # everything that is not there yet, then the tables
    python -m benchmarks.recovery.run --net vgg --seed 0 --method igc
    python -m benchmarks.recovery.run --table-only

The networks are those of benchmarks.accuracy. Every row trains for the same number of steps on the same batches with
``convsurgeon.recover`` and its default settings, but with labels, and keeping the last weights; a pruned network has no
replaced sites whose features could be compared, and learns at the rate of new layers throughout, as networks from fresh
weights do.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.rivals import torch_pruning
from benchmarks.accuracy.run import Sample, operate, plan_for
from benchmarks.accuracy.tables import CELLS, SHARES, spread
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained, top1
from benchmarks.accuracy.training import augment
from convsurgeon.base.files import write_whole
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count

STEPS = 938
BATCH = 128
SHIFT = 2
METHODS = {
    "auto": "auto",
    "igc": "IGC",
    "compconv": "CompConv, depth free",
    "dgconv": "DGConv (hardened)",
    "torch-pruning": "Torch-Pruning, Taylor importance",
    "random": "IGC from fresh weights",
    "compconv128": "CompConv128, every layer",
}
FROM_ANEW = {"torch-pruning", "random"}


@dataclass(frozen=True)
class Result:
    """One cell; top-1 in percent: of the original, right after the conversion, and after ``steps`` of training."""

    net: str
    seed: int
    method: str
    target: float
    share: float
    steps: int
    before: float
    converted: float
    recovered: float
    seconds: float
    device: str


class Augmented:
    """Labelled batches, shifted and mirrored anew in every pass."""

    def __init__(self, split: Split, seed: int) -> None:
        self._split = split
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._split), generator=self._generator)
        for chosen in order.split(BATCH):  # type: ignore[no-untyped-call]
            yield augment(self._split.images[chosen], SHIFT, self._generator), self._split.labels[chosen]


def start_of(method: str, model: nn.Module, target: float, sample: Sample, seed: int) -> nn.Module:
    """The network that training starts from."""
    if method == "torch-pruning":
        return torch_pruning(model, sample.example, target, sample.images, sample.labels)
    if method == "compconv128":
        done = convsurgeon.convert(
            model, sample.example, method=method, calibration=sample.batches(), random_weights=False, seed=seed
        )
        return done.model
    return operate(method, model, plan_for(method, model, target, sample, seed), sample, seed)


def trained(model: nn.Module, start: nn.Module, train: Split, seed: int, steps: int, *, anew: bool) -> nn.Module:
    """``start`` after so many steps, in eval mode; ``anew`` without replaced sites, or with fresh weights in them."""
    defaults = convsurgeon.RecoverSettings()
    settings = convsurgeon.RecoverSettings(
        steps=steps,
        seed=seed,
        label_weight=1.0,
        keep="last",
        feature_weight=0.0 if anew else defaults.feature_weight,
        lr_old=defaults.lr_new if anew else defaults.lr_old,
    )
    recovered = convsurgeon.recover(
        model, start, Augmented(train, seed), settings=settings, narrowed=_pruned(model, start), device="auto"
    )
    return recovered.model.eval()


def _pruned(model: nn.Module, start: nn.Module) -> list[str]:
    """The layers that a rival left fewer channels."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    others = ((name, parameter.shape) for name, parameter in start.named_parameters() if name in shapes)
    return list(dict.fromkeys(name.rpartition(".")[0] for name, shape in others if shape != shapes[name]))


def run_cell(net: str, seed: int, method: str, target: float, steps: int, cache: Path, data: Path) -> Result:
    """Convert, train, test."""
    model, train, test = load_trained(net, seed, cache), load_train(data), load_test(data)
    sample = Sample.of(train, seed)
    start = start_of(method, model, target, sample, seed).eval()
    started = time.perf_counter()
    new = trained(model, start, train, seed, steps, anew=method in FROM_ANEW)
    seconds = time.perf_counter() - started
    example = as_inputs(sample.example)
    return Result(
        net=net,
        seed=seed,
        method=method,
        target=target,
        share=count(start, example).macs / count(model, example).macs,
        steps=steps,
        before=top1(model, test),
        converted=top1(start, test),
        recovered=top1(new, test),
        seconds=seconds,
        device=device_name(),
    )


def device_name() -> str:
    """Where ``recover`` trains."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def wanted(net: str | None, seed: int | None, method: str | None) -> Iterator[tuple[str, int, str, float]]:
    """The cells; CompConv128 has no target, so that one share stands for both."""
    for cell_net, cell_seed in CELLS:
        for name in METHODS:
            for target in SHARES[:1] if name == "compconv128" else SHARES:
                if net in (None, cell_net) and seed in (None, cell_seed) and method in (None, name):
                    yield cell_net, cell_seed, name, target


def results(folder: Path) -> Iterator[Result]:
    """What is there already."""
    for path in sorted(folder.glob("*.json")):
        yield Result(**json.loads(path.read_text()))


def table(folder: Path) -> str:
    """The Markdown tables, one for each network, number of steps and share, over whatever results there are."""
    groups: dict[tuple[str, int, float, str], list[Result]] = defaultdict(list)
    for result in results(folder):
        groups[result.net, result.steps, result.target, result.method].append(result)
    lines = []
    for net, steps, target in sorted({key[:3] for key in groups}, reverse=True):
        rows = {m: groups[net, steps, target, m] for m in METHODS if (net, steps, target, m) in groups}
        first = max(rows.values(), key=len)
        lines.append(f"\n## {net} at {target:.0%} of the MACs, {steps} steps\n")
        lines.append(f"Original: top-1 {spread([r.before for r in first])} %; {first[0].device}\n")
        lines.append("| method | seeds | MACs kept | converted, % | trained, % | points lost | s |")
        lines.append("|---|---|---|---|---|---|---|")
        lines += [f"| {METHODS[method]} | {_row(found)} |" for method, found in rows.items()]
    return "\n".join(lines)


def _row(found: list[Result]) -> str:
    return " | ".join(
        (
            ", ".join(str(r.seed) for r in found),
            f"{statistics.mean(r.share for r in found):.1%}",
            spread([r.converted for r in found]),
            spread([r.recovered for r in found]),
            spread([r.before - r.recovered for r in found]),
            f"{statistics.median(r.seconds for r in found):.0f}",
        )
    )


@click.command()
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})))
@click.option("--seed", type=int)
@click.option("--method", type=click.Choice(list(METHODS)))
@click.option("--steps", type=click.IntRange(1, 1500), default=STEPS, show_default=True, help="Two epochs.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
@click.option("--table-only", is_flag=True, help="Print the tables of what is there.")
def main(
    net: str | None, seed: int | None, method: str | None, steps: int, cache: Path, data: Path, table_only: bool
) -> None:
    """Fill the missing cells, then print the tables."""
    log, folder = Console(stderr=True), cache / "recovered"
    for cell in [] if table_only else list(wanted(net, seed, method)):
        cell_net, cell_seed, name, target = cell
        path = folder / f"{cell_net}-seed{cell_seed}-{name}-{target:.2f}-{steps}.json"
        if path.is_file():
            continue
        result = run_cell(*cell, steps, cache, data)
        log.print(
            f"{cell}: {result.before:.2f} → {result.converted:.2f} → {result.recovered:.2f}, {result.seconds:.0f} s"
        )
        write_whole(path, json.dumps(asdict(result), indent=2) + "\n")
    click.echo(table(folder))


if __name__ == "__main__":
    main()
