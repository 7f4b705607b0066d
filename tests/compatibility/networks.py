"""Subjects for the matrix's own tests, built by module-level functions, which another process can import."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from compatibility.subjects import Subject


class Chain(nn.Module):
    """Two convolutions and a pooled head: [N, 3, H, W] → [N, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, width]."""
        return self.body(self.stem(x)).mean((2, 3))


def wide() -> nn.Module:
    """Something to convert."""
    return Chain(64)


def narrow() -> nn.Module:
    """Nothing to convert: one channel."""
    return Chain(1)


class Detector(nn.Module):
    """A list of images [3, H, W] → for each one the bright pixels and a second look at them, as many as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Chain(64)
        self.second = nn.Conv2d(64, 64, 1)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """[3, H, W] each → {"boxes": [K, 2], "scores": [K, 64]} each."""
        return [self._found(self.trunk.body(self.trunk.stem(image[None]))) for image in images]

    def _found(self, maps: Tensor) -> dict[str, Tensor]:
        boxes = torch.nonzero(maps.mean((0, 1)) > maps.mean())
        crops = maps[0, :, boxes[:, 0], boxes[:, 1]].T[:, :, None, None]
        return {"boxes": boxes, "scores": self.second(crops).flatten(1)}


def detector() -> nn.Module:
    """A network whose cost and output sizes depend on the data."""
    return Detector()


def refused() -> nn.Module:
    """Wide convolutions that no method takes over, since both share one weight."""
    network = Chain(64)
    network.stem = nn.Conv2d(64, 64, 3, padding=1)
    network.stem.weight = network.body.weight
    return network


def endless() -> nn.Module:
    """A build that never ends."""
    while True:
        time.process_time()


def broken() -> nn.Module:
    """A build that fails."""
    raise ValueError("no such layer\nand a long story")


def subject(build: Callable[[], nn.Module]) -> Subject:
    """A subject of 16 × 16 pixels."""
    return Subject("torchvision", build.__name__, build, sides=(16,))
