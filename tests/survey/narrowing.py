"""Small networks around one operation, and what the survey says of their streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon import inspect
from convsurgeon.surgery.narrow import narrow
from convsurgeon.survey.streams import Block, Stream
from tests.surgery.cutting import deafened, noisy, some_of

__all__ = ["Between", "blocks_of", "sound", "streams_of"]

IMAGE = (2, 3, 8, 8)


class Between(nn.Module):
    """Two convolutions of 8 channels, ``a`` and ``t``, an operation on what they give, and a last one ``b``."""

    def __init__(self, operation: Callable[[Any, Tensor, Tensor], Tensor], reads: int = 8, **layers: nn.Module) -> None:
        super().__init__()
        self.a, self.t = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.operation = operation
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.b = nn.Conv2d(reads, 4, 1)
        self.register_buffer("number", torch.ones(1))
        self.register_buffer("each", torch.ones(8, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 4, H', W']."""
        return self.b(self.operation(self, self.a(image), self.t(image)))


def streams_of(net: nn.Module, image: Tensor | None = None) -> dict[str, Stream]:
    """By name."""
    return {stream.name: stream for stream in inspect(net, torch.zeros(IMAGE) if image is None else image).streams}


def blocks_of(net: nn.Module) -> dict[str, Block]:
    """By name."""
    return {block.name: block for block in inspect(net, torch.zeros(IMAGE)).blocks}


def sound(net: nn.Module, shape: tuple[int, ...] = IMAGE) -> dict[str, Stream]:
    """The streams by name, after the open ones were narrowed: the outputs are those of readers that don't hear them."""
    net = noisy(net)
    image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    streams = streams_of(net, image)
    kept = some_of(streams.values())
    with torch.no_grad():
        expected, found, whole = deafened(net, kept)(image), narrow(net, kept)(image), net(image)
    torch.testing.assert_close(found, expected)
    assert not kept or not torch.allclose(expected, whole)
    return streams
