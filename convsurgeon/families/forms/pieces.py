"""The few modules that lowered units consist of, beside plain convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.families.channel_order import reordered

__all__ = ["Gather", "Onto", "Rescale", "Slice", "Tree", "Twins", "subsampled"]


class Gather(nn.Module):
    """Channels in another order: [N, C, …] → [N, len(order), …].

    In a network that is laid out channels last it stays so, and indexes: ``index_select`` would copy the whole of such
    a tensor first, however few channels are wanted.
    """

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.channels_last = False

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, len(order), …]."""
        if self.channels_last and x.dim() == 4:
            # The further axis: see `reordered`.
            y = x.unsqueeze(2)[:, self.order].squeeze(2)
            return y.contiguous(memory_format=torch.channels_last)
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
        self.channels_last = False

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, …] → [N, 2·C, …]; channels last where it is laid out so, in one pass over memory too."""
        if self._by_pixels(x):
            scale, shift = self.scale.flatten(1), self.shift.flatten(1)
            return torch.addcmul(shift, _pixels(x).unsqueeze(3), scale).flatten(3).permute(0, 3, 1, 2)
        return torch.addcmul(self.shift, x.unsqueeze(1), self.scale).flatten(1, 2)

    def add_onto(self, shortcut: Tensor, x: Tensor) -> bool:
        """Add what ``forward`` gives to [N, 2·C, …], in place; False where it does not fit."""
        if not _fits(shortcut, x):
            return False
        if self._by_pixels(x):
            twice = torch.unflatten(_pixels(shortcut), 3, (2, -1))
            twice.addcmul_(_pixels(x).unsqueeze(3), self.scale.flatten(1)).add_(self.shift.flatten(1))
        else:
            torch.unflatten(shortcut, 1, (2, -1)).addcmul_(x.unsqueeze(1), self.scale).add_(self.shift)
        return True

    def _by_pixels(self, x: Tensor) -> bool:
        return self.channels_last and x.dim() == 4


def _pixels(x: Tensor) -> Tensor:
    """[N, C, H, W] → [N, H, W, C], a view."""
    return x.permute(0, 2, 3, 1)


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
        return torch.cat([part(source) for part, source in self._parts(x)], dim=1)

    def add_onto(self, shortcut: Tensor, x: Tensor) -> bool:
        """Add what ``forward`` gives to [N, C_out, …], in place and part by part; False where it does not fit."""
        parts = [_up_to_rescale(part, source) for part, source in self._parts(x)]
        if not _fits(shortcut, parts[0][0]):
            return False
        widths = [part.shape[1] for part, _ in parts]
        for here, (part, change) in zip(torch.split(shortcut, widths, dim=1), parts, strict=True):
            if change is None:
                here.add_(part)
            else:
                here.addcmul_(part, change.scale).add_(change.shift)
        return True

    def _parts(self, x: Tensor) -> list[tuple[nn.Module, Tensor]]:
        """What becomes of which tensor on its way into the output."""
        b = self.primary(x)
        left: list[Tensor] = []
        for copy, level in zip(self.copies, self.levels, strict=True):
            both = torch.cat((copy(x), b), dim=1)
            left.insert(0, both)
            b = level(both)
        kept = [x, b, *left]
        return [(part, kept[source]) for part, source in zip(self.outputs, self.sources, strict=True)]


def _up_to_rescale(part: nn.Module, x: Tensor) -> tuple[Tensor, Rescale | None]:
    """What a part computes before its last step, if that is a scale and shift; else all of it."""
    steps = list(part) if isinstance(part, nn.Sequential) else [part]
    last = steps[-1]
    for step in steps[:-1]:
        x = step(x)
    return (x, last) if isinstance(last, Rescale) else (last(x), None)


def _fits(shortcut: Tensor, part: Tensor) -> bool:
    """Whether some channels of a sum may be written over a shortcut, which neither spreads nor changes its dtype."""
    same = shortcut.shape[0] == part.shape[0] and shortcut.shape[2:] == part.shape[2:]
    return same and shortcut.dtype == part.dtype


class Onto(nn.Module):
    """shortcut + inner(x), written over the shortcut where it fits: nothing is concatenated on the way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """[N, C_out, …], [N, C_in, …] → [N, C_out, …]."""
        *first, last = self.inner if isinstance(self.inner, nn.Sequential) else [self.inner]
        for step in first:
            x = step(x)
        if isinstance(last, (Tree, Twins)):
            return shortcut if last.add_onto(shortcut, x) else shortcut + last(x)
        y = last(x)
        return shortcut.add_(y) if _fits(shortcut, y) else shortcut + y
