"""The 1,797 handwritten digits that ship with the package, and how they are split.

Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998, UCI Machine Learning Repository), the copy that
scikit-learn distributes; DIGITS-LICENCE.md beside this file has the terms. The first 1,437 images are for training,
calibration and recovery, the last 360 for accuracy alone: the order is scikit-learn's, and nothing is shuffled
across the border, so that the test images come from later pages than all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import torch
from safetensors.torch import load
from torch import Tensor

__all__ = ["DIGITS", "TRAIN_IMAGES", "Digits", "Epochs", "digits"]

DIGITS = "digits.safetensors"
TRAIN_IMAGES = 1_437
_BRIGHTEST = 16


@dataclass(frozen=True)
class Digits:
    """Images [N, 1, 8, 8], float32 in 0…1, and labels [N]."""

    images: Tensor
    labels: Tensor

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """Batches (images, labels) in order; the last one may be smaller."""
        return list(zip(torch.split(self.images, size), torch.split(self.labels, size), strict=True))


class Epochs:
    """Full batches of images, in an order that ``seed`` and the epoch decide; to be read once per epoch."""

    def __init__(self, images: Tensor, size: int, seed: int) -> None:
        self._images, self._size, self._seed, self._epoch = images, size, seed, 0

    def set_epoch(self, number: int) -> None:
        """Choose the order."""
        self._epoch = number

    def orders(self) -> list[Tensor]:
        """The chosen images of each batch, as indices [size]."""
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        chosen = torch.split(torch.randperm(len(self._images), generator=generator), self._size)
        return [batch for batch in chosen if len(batch) == self._size]

    def __len__(self) -> int:
        return len(self._images) // self._size

    def __iter__(self) -> Iterator[Tensor]:
        return (self._images[batch] for batch in self.orders())


def digits() -> tuple[Digits, Digits]:
    """The train and the test split."""
    stored = load(files("convsurgeon.demo").joinpath(DIGITS).read_bytes())
    images = stored["images"].unsqueeze(1).float() / _BRIGHTEST
    labels = stored["labels"].long()
    return Digits(images[:TRAIN_IMAGES], labels[:TRAIN_IMAGES]), Digits(images[TRAIN_IMAGES:], labels[TRAIN_IMAGES:])
