"""The few modules that lowered units consist of, beside plain convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.convs.channel_order import reordered

__all__ = ["Gather", "Rescale", "Slice", "Tree", "Twins"]


class Gather(nn.Module):
    """Channels in another order: [N, C, …] → [N, len(order), …]."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, len(order), …]."""
        return reordered(x, self.order)


class Slice(nn.Module):
    """The channels from ``start`` on, every ``step[i]``-th position of axis i: a view."""

    def __init__(self, start: int, length: int, step: tuple[int, ...]) -> None:
        super().__init__()
        self.start, self.length, self.step = start, length, step

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, length, …]."""
        return subsampled(x[:, self.start : self.start + self.length], self.step)


def subsampled(x: Tensor, step: tuple[int, ...]) -> Tensor:
    """Every ``step[i]``-th position of spatial axis i."""
    for axis, every in enumerate(step):
        if every > 1:
            x = x[(slice(None),) * (2 + axis) + (slice(None, None, every),)]
    return x


class Rescale(nn.Module):
    """x · scale + shift per channel: what a 1×1 depthwise convolution computes, in one pass over memory."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, like: Tensor, axes: int) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, value.to(like).view(-1, *(1,) * axes).clone())

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, C, …]."""
        return torch.addcmul(self.shift, x, self.scale)


class Twins(nn.Module):
    """Every channel twice, with another scale and shift each time: [N, C, …] → [N, 2·C, …], first all, then all."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, like: Tensor, axes: int) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, value.to(like).view(2, -1, *(1,) * axes).clone())

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, 2·C, …]."""
        return torch.addcmul(self.shift, x.unsqueeze(1), self.scale).flatten(1, 2)


class Tree(nn.Module):
    """A CompConv unit level by level: ``copies[i]`` of the input join what level i reads.

    Each of ``outputs`` is a source and what becomes of it on its way into the output: source 0 is the input, 1 the
    last B, 2 and on the concatenations from the last level back to the first. None hands a source on as it is.
    """

    def __init__(
        self,
        primary: nn.Module,
        copies: list[nn.Module],
        levels: list[nn.Module],
        outputs: list[tuple[int, nn.Module | None]],
    ) -> None:
        super().__init__()
        self.primary = primary
        self.copies = nn.ModuleList(copies)
        self.levels = nn.ModuleList(levels)
        self.outputs = nn.ModuleList(nn.Identity() if part is None else part for _, part in outputs)
        self.sources = tuple(source for source, _ in outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, …] → [N, C_out, …]."""
        b = self.primary(x)
        left: list[Tensor] = []
        for copy, level in zip(self.copies, self.levels, strict=True):
            both = torch.cat((copy(x), b), dim=1)
            left.insert(0, both)
            b = level(both)
        kept = [x, b, *left]
        return torch.cat([part(kept[source]) for part, source in zip(self.outputs, self.sources, strict=True)], dim=1)
