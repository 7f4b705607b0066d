"""How the networks of the accuracy benchmark are trained: SGD on a one-cycle schedule, images shifted and mirrored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.accuracy.data import BACKGROUND, Split
from benchmarks.accuracy.small_maps import SmallMapsAsMatmul


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
