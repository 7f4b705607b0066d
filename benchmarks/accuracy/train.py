"""Train one original network of the accuracy benchmark with one seed, and keep its weights.

    python -m benchmarks.accuracy.train resnet18 --seed 0

A network that is already in the cache folder is not trained again unless --force is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from benchmarks.accuracy.data import BACKGROUND, DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.nets import NETS, build

DEFAULT_CACHE = Path("benchmarks/.cache/accuracy")


@dataclass(frozen=True)
class Settings:
    """How a network is trained: `lr` is the peak of the one-cycle schedule, `warmup` its rising share."""

    epochs: int = 6
    batch: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.2
    label_smoothing: float = 0.0
    crop_padding: int = 2
    bf16: bool = True


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


# --- the cache ------------------------------------------------------------------------------------


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
    weights.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    replace_file(weights.with_suffix(".json"), lambda path: write_json(path, record))
    replace_file(weights, lambda path: save_file(tensors, path))


def write_json(path: Path, record: Record) -> None:
    """The record as indented JSON."""
    path.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n")


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# --- speed ----------------------------------------------------------------------------------------


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware tiles; without them bfloat16 is no faster."""
    # torch 2.9 has no get_capabilities yet
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_tile")) and bool(capabilities.get("amx_bf16"))


class SmallMapsAsMatmul(TorchFunctionMode):
    """Compute bias-free k×k convolutions whose output map is at most 4×4 as one bfloat16 matrix product.

    The backward pass of torch's own convolution on such maps takes up to six times as long on a CPU with AMX.
    """

    largest_map = 16

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and not kwargs and self.fits(*args):
            images, weight, _, stride, padding = args[:5]
            return conv_as_matmul(images.bfloat16(), weight.bfloat16(), stride[0], padding[0])
        return func(*args, **(kwargs or {}))

    def fits(
        self,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
        groups: int,
    ) -> bool:
        """Whether the convolution that `torch.conv2d` would make of these arguments is one to replace."""
        square = all(len(set(pair)) == 1 for pair in (stride, padding, weight.shape[2:]))
        plain = bias is None and groups == 1 and dilation == (1, 1) and not isinstance(padding, str)
        positions = images.shape[2] * images.shape[3] / (stride[0] * stride[1])
        return plain and square and weight.shape[2] > 1 and positions <= self.largest_map


def conv_as_matmul(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """[N, C, H, W] and [O, C, k, k] → [N, O, H', W'], both maps stored channels last."""
    k = weight.shape[2]
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    high, wide = ((side - k) // stride + 1 for side in padded.shape[1:3])
    taps = [
        padded[:, i : i + (high - 1) * stride + 1 : stride, j : j + (wide - 1) * stride + 1 : stride]
        for i in range(k)
        for j in range(k)
    ]
    rows = torch.cat(taps, dim=-1).flatten(0, 2)
    product = rows @ weight.permute(0, 2, 3, 1).flatten(1).t()
    return product.view(len(images), high, wide, -1).permute(0, 3, 1, 2)


# --- training -------------------------------------------------------------------------------------


def augment(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift each image of [N, 1, H, W] by up to `padding` pixels and mirror half of them."""
    count, _, high, wide = images.shape
    padded = F.pad(images, (padding,) * 4, value=BACKGROUND)
    windows = padded.unfold(2, high, 1).unfold(3, wide, 1)
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    cropped = windows[torch.arange(count), :, top, left]
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, cropped.flip(3), cropped)


def batches(split: Split, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order; the last batch is smaller where `size` does not divide the split."""
    for chosen in torch.randperm(len(split), generator=generator).split(size):  # type: ignore[no-untyped-call]
        yield split.images[chosen], split.labels[chosen]


def train(model: nn.Module, split: Split, seed: int, settings: Settings, step_done: Callable[[float], None]) -> None:
    """Train `model` in place; `step_done` receives the loss of each step."""
    generator = torch.Generator().manual_seed(seed)
    model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=settings.lr,
        total_steps=settings.epochs * steps_per_epoch(split, settings),
        pct_start=settings.warmup,
        cycle_momentum=False,
    )
    for _ in range(settings.epochs):
        for images, labels in batches(split, settings.batch, generator):
            images = augment(images, settings.crop_padding, generator)
            loss = loss_of(model, images, labels, settings)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step_done(loss.item())


def steps_per_epoch(split: Split, settings: Settings) -> int:
    """Batches in one epoch, the last, smaller one included."""
    return -(-len(split) // settings.batch)


def loss_of(model: nn.Module, images: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of one batch, in bfloat16 where the settings say so."""
    if not settings.bf16:
        return F.cross_entropy(model(images), labels, label_smoothing=settings.label_smoothing)
    with torch.autocast("cpu", torch.bfloat16), SmallMapsAsMatmul():
        return F.cross_entropy(model(images), labels, label_smoothing=settings.label_smoothing)


@torch.inference_mode()
def top1(model: nn.Module, split: Split, batch: int = 500) -> float:
    """Percent of `split` classified right, in float32 and eval mode."""
    model.eval()
    right = 0
    for start in range(0, len(split), batch):
        logits = model(split.images[start : start + batch])
        right += int((logits.argmax(1) == split.labels[start : start + batch]).sum())
    return 100 * right / len(split)


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


# --- command line ---------------------------------------------------------------------------------


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options, with `Settings` as the source of defaults."""
    summary = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.train", description=summary)
    parser.add_argument("net", choices=sorted(NETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--lr", type=float, default=Settings.lr, help="peak of the schedule (default %(default)s)")
    parser.add_argument("--label-smoothing", type=float, default=Settings.label_smoothing)
    parser.add_argument(
        "--crop-padding", type=int, default=Settings.crop_padding, help="random shift, pixels (default %(default)s)"
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR, help="folder of the idx files")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="output folder")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    parser.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=has_amx(),
        help="bfloat16 autocast (default: where the CPU has AMX)",
    )
    parser.add_argument("--force", action="store_true", help="train even if the cache has this network")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train, or find in the cache, one network; returns the exit status."""
    options = parse(arguments)
    console = Console()
    settings = Settings(
        epochs=options.epochs,
        batch=options.batch,
        lr=options.lr,
        label_smoothing=options.label_smoothing,
        crop_padding=options.crop_padding,
        bf16=options.bf16,
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    weights = weights_path(options.cache, options.net, options.seed)
    try:
        if weights.is_file() and not options.force:
            record = read_record(weights)
            note = "" if record.settings == settings else ", trained with other settings; --force trains again"
            console.print(f"{weights} is there already{note}", highlight=False, soft_wrap=True)
        else:
            record = train_and_save(options.net, options.seed, settings, options.data, options.cache, console)
    except (FileNotFoundError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    console.print(
        f"{record.net} seed {record.seed}: top-1 {record.top1:.2f} %, epochs {record.epochs}, "
        f"{record.seconds:.0f} s on {record.threads} threads, {record.dtype}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
