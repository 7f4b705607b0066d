"""A small network, inputs for it, and what was counted on the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def small_net() -> nn.Module:
    """[N, 3, 8, 8] → [N, 4]; fixed weights, and as much of one class as of another."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        net[-1].bias -= net(torch.cat(inputs(64, 9))).mean(0)
    return net


def inputs(count: int, seed: int) -> list[Tensor]:
    """Batches of 32, each image with a brightness of its own so that classes differ."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 8, 8, generator=generator) + torch.randn(count, 3, 1, 1, generator=generator)
    return list(images.split(32))


def labelled(net: nn.Module, batches: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The net's own answers as labels."""
    with torch.no_grad():
        return [(batch, net(batch).argmax(1)) for batch in batches]
