"""A subject of the matrix: how a network is built, what it is called with, and what a training step needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NATIVE", "Subject", "image", "sides_from"]

NATIVE = 224


def image(batch: int, side: int, channels: int = 3) -> Tensor:
    """Uniform numbers in [0, 1), the same for the same shape: [N, C, side, side]."""
    return torch.rand(batch, channels, side, side, generator=torch.Generator().manual_seed(0))


def _one_image(batch: int, side: int) -> Any:
    return (image(batch, side),)


@dataclass(frozen=True)
class Subject:
    """One network of one library.

    ``inputs`` and ``training_inputs`` take batch and side and return a tuple of positional or a dict of keyword
    arguments; ``sides`` starts with the size the library means and goes down. ``training_inputs`` is None where the
    same inputs serve. ``varying`` says that sizes of the outputs depend on the data (a detector's boxes).
    ``build`` may raise; ``sized`` changes a built network that resizes its inputs itself.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, int], Any] = _one_image
    training_inputs: Callable[[int, int], Any] | None = None
    sides: tuple[int, ...] = (NATIVE,)
    sized: Callable[[nn.Module, int], None] | None = None
    varying: bool = False

    def for_training(self, batch: int, side: int) -> Any:
        """What one training step is called with."""
        return (self.training_inputs or self.inputs)(batch, side)


def sides_from(native: int, step: int = 32, least: int = 64) -> tuple[int, ...]:
    """The native side and smaller ones, each about 3/4 of the one before, as multiples of ``step``."""
    sides = [native]
    while (smaller := int(sides[-1] * 0.75) // step * step) >= least:
        sides.append(smaller)
    return tuple(sides)
