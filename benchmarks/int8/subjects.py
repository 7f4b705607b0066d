"""The networks of the int8 benchmark: a trained one, and what ``convert`` makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import load_test, load_train
from benchmarks.accuracy.train import load_trained

CALIBRATION, BATCH = 512, 64
METHODS = ("igc", "tucker", "spatial", "auto")


@dataclass(frozen=True)
class Images:
    """Batches to fit and measure ranges on, and labelled ones [N, 1, 28, 28] to judge on."""

    calibration: tuple[Tensor, ...]
    test: tuple[Tensor, ...]
    labels: Tensor

    @classmethod
    def of(cls, folder: Path, judged: int) -> Images:
        """The first images of Fashion-MNIST's two parts."""
        train, test = load_train(folder), load_test(folder)
        return cls(
            torch.split(train.images[:CALIBRATION], BATCH), torch.split(test.images[:judged], 250), test.labels[:judged]
        )


def networks(net: str, seed: int, cache: Path, images: Images, targets: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """The original, and one conversion for each ``METHOD@TARGET``."""
    original = load_trained(net, seed, cache)
    yield "original", original
    for word in targets:
        method, _, target = word.partition("@")
        done = convsurgeon.convert(
            original, images.calibration[0][:1], method=method, target=target, calibration=list(images.calibration)
        )
        yield word, done.model


def top1(outputs: Tensor, labels: Tensor) -> float:
    """Percent of images whose largest output is the label's."""
    return 100 * float((outputs.argmax(1) == labels).float().mean())
