"""Train one original network of the accuracy benchmark with one seed, and keep its weights.

    python -m benchmarks.accuracy.train resnet18 --seed 0

A network that is already in the cache folder is not trained again unless --force is given.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.nets import NETS, build
from benchmarks.accuracy.small_maps import has_amx
from benchmarks.accuracy.training import Settings, steps_per_epoch, train
from convsurgeon.base.files import write_whole

DEFAULT_CACHE = Path("benchmarks/.cache/accuracy")


@dataclass(frozen=True)
class Record:
    """What is known of a trained network, written as JSON beside its weights; `top1` is in percent."""

    net: str
    seed: int
    epochs: int
    top1: float
    seconds: float
    torch: str
    threads: int
    dtype: str
    settings: Settings


def weights_path(cache: Path, net: str, seed: int) -> Path:
    """Where the weights of this network and seed are kept; the record lies beside them with suffix .json."""
    return cache / f"{net}-seed{seed}.safetensors"


def read_record(weights: Path) -> Record:
    """The record beside `weights`. Raises FileNotFoundError when there is none."""
    fields: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text())
    return Record(**{**fields, "settings": Settings(**fields["settings"])})


def load_trained(net: str, seed: int, cache: Path = DEFAULT_CACHE) -> nn.Module:
    """The trained network, float32, in eval mode. Raises FileNotFoundError when it is not trained yet."""
    weights = weights_path(cache, net, seed)
    if not weights.is_file():
        raise FileNotFoundError(
            f"no trained network at {weights}: make it with "
            f"python -m benchmarks.accuracy.train {net} --seed {seed} --cache {cache}"
        )
    model = build(net)
    model.load_state_dict(load_file(weights))
    return model.eval()


def save_trained(model: nn.Module, record: Record, weights: Path) -> None:
    """Write weights and record, the weights last and by renaming: a weights file that exists is whole."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_whole(weights.with_suffix(".json"), json.dumps(dataclasses.asdict(record), indent=2) + "\n")
    write_whole(weights, save(tensors))


def top1(model: nn.Module, split: Split) -> float:
    """Percent of ``split`` classified right, in float32 and eval mode."""
    batches = zip(split.images.split(500), split.labels.split(500), strict=True)
    return 100 * convsurgeon.top1_accuracy(model, batches).top1


def train_and_save(net: str, seed: int, settings: Settings, data: Path, cache: Path, console: Console) -> Record:
    """Train, measure on the test set, write both files. Raises what `load_train` raises."""
    training, test = load_train(data), load_test(data)
    torch.manual_seed(seed)
    model = build(net)
    started = time.perf_counter()
    with progress_bar(console) as progress:
        steps = settings.epochs * steps_per_epoch(training, settings)
        task = progress.add_task(f"{net} seed {seed}", total=steps, loss=float("nan"))
        train(model, training, seed, settings, lambda loss: progress.update(task, advance=1, loss=loss))
    seconds = time.perf_counter() - started
    record = Record(
        net=net,
        seed=seed,
        epochs=settings.epochs,
        top1=top1(model, test),
        seconds=round(seconds, 1),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        dtype="bfloat16 autocast" if settings.bf16 else "float32",
        settings=settings,
    )
    save_trained(model, record, weights_path(cache, net, seed))
    return record


def progress_bar(console: Console) -> Progress:
    """Steps done, the last loss, time gone and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


@click.command()
@click.argument("net", type=click.Choice(sorted(NETS)))
@click.option("--seed", type=int, default=0)
@click.option("--epochs", type=int, default=Settings.epochs)
@click.option("--batch", type=int, default=Settings.batch)
@click.option("--lr", type=float, default=Settings.lr, show_default=True, help="Peak of the schedule.")
@click.option("--label-smoothing", type=float, default=Settings.label_smoothing)
@click.option(
    "--crop-padding", type=int, default=Settings.crop_padding, show_default=True, help="Random shift, pixels."
)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, help="Folder of the idx files.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Output folder.")
@click.option("--threads", type=int, help="CPU threads.  [default: torch's own choice]")
@click.option("--bf16/--no-bf16", default=has_amx, help="bfloat16 autocast.  [default: where the CPU has AMX]")
@click.option("--force", is_flag=True, help="Train even if the cache has this network.")
def main(net: str, seed: int, data: Path, cache: Path, threads: int | None, force: bool, **given: Any) -> None:
    """Train one original network of the accuracy benchmark, or find it in the cache."""
    console, settings = Console(), Settings(**given)
    if threads:
        torch.set_num_threads(threads)
    weights = weights_path(cache, net, seed)
    try:
        if weights.is_file() and not force:
            record = read_record(weights)
            note = "" if record.settings == settings else ", trained with other settings; --force trains again"
            console.print(f"{weights} is there already{note}", highlight=False, soft_wrap=True)
        else:
            record = train_and_save(net, seed, settings, data, cache, console)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    console.print(
        f"{record.net} seed {record.seed}: top-1 {record.top1:.2f} %, epochs {record.epochs}, "
        f"{record.seconds:.0f} s on {record.threads} threads, {record.dtype}",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
