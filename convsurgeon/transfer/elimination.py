"""In which order channels can go: structured optimal brain surgeon over everything that reads them.

Hassibi & Stork 1992 for single weights; for the block of a channel's weights in a layer that reads it, what its loss
costs once all other weights make up for it in the least-squares sense is tr(W_c (H_cc)⁻¹ W_cᵀ), where H is the inverse
of the inputs' covariance, and the others become W − W_c (H_cc)⁻¹ H_c:.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families.regression.linear_algebra import factor
from convsurgeon.families.regression.linear_site import LinearSite

__all__ = ["Elimination", "ReadBlock"]


@dataclass(frozen=True)
class ReadBlock:
    """Where a layer reads a stream: its columns ``start`` to ``start + channels · each`` of the linear problem."""

    stream: int
    start: int
    each: int


class _Layer:
    """One layer while its inputs go: what is left of its weights [C_out, D'] and of the inverse covariance [D', D']."""

    def __init__(self, site: LinearSite, blocks: Sequence[ReadBlock]) -> None:
        self.site = site
        self.blocks = blocks
        self.columns = torch.arange(site.original.weight.shape[1])
        self.weight = site.original.weight.clone()
        self.inverse = torch.cholesky_inverse(factor(site.ridged.uu))
        self.spread = max(float(site.moments.yy.sum()), 1e-30)

    def losses(self, block: ReadBlock, channels: Tensor) -> Tensor:
        """What the loss of each of the channels [n] costs, relative to the layer's output."""
        places = self._places(block, channels)
        inverse = self.inverse[places[:, :, None], places[:, None, :]]
        weight = self.weight[:, places.flatten()].view(len(self.weight), *places.shape).permute(1, 2, 0)
        return (weight * torch.linalg.solve(inverse, weight)).sum((1, 2)) / self.spread

    def remove(self, block: ReadBlock, channels: Tensor) -> None:
        """Take the channels away; the other weights make up for them."""
        gone = self._places(block, channels).flatten()
        share = torch.linalg.solve(self.inverse[gone[:, None], gone], self.inverse[gone])
        stays = torch.ones(len(self.columns), dtype=torch.bool)
        stays[gone] = False
        rows = self.inverse[stays][:, gone]
        self.weight = self.weight[:, stays] - self.weight[:, gone] @ share[:, stays]
        self.inverse = self.inverse[stays][:, stays].addmm_(rows, share[:, stays], alpha=-1)
        self.columns = self.columns[stays]

    def solution(self) -> tuple[Tensor, Tensor]:
        """The whole weight, zero where inputs are gone, and what the output shifts by."""
        whole = torch.zeros_like(self.site.original.weight)
        whole[:, self.columns] = self.weight
        bias = self.site.original.bias
        shift = self.site.moments.bias(self.site.original, whole) - bias if self.site.moments.centred else 0 * bias
        return whole, shift

    def damage(self) -> float:
        """Relative error of the output on the samples held out."""
        return self.site.error(self.solution()[0])

    def _places(self, block: ReadBlock, channels: Tensor) -> Tensor:
        """Where the channels' columns are among those left [n, each]."""
        wanted = block.start + channels[:, None] * block.each + torch.arange(block.each)
        return torch.searchsorted(self.columns, wanted)


class Elimination:
    """Streams that lose channels together, and all layers that read them."""

    def __init__(self, channels: Sequence[int], layers: Sequence[tuple[LinearSite, Sequence[ReadBlock]]]) -> None:
        self._left = [torch.arange(count) for count in channels]
        self._layers = [_Layer(site, blocks) for site, blocks in layers]

    def to(self, stream: int, count: int, step: int) -> None:
        """Take channels of a stream away, at most ``step`` at a time, until ``count`` are left."""
        while len(self._left[stream]) > count:
            left = self._left[stream]
            order = torch.argsort(self._losses(stream, left), stable=True)
            gone = order[: min(step, len(left) - count)].sort().values
            for layer in self._layers:
                for block in layer.blocks:
                    if block.stream == stream:
                        layer.remove(block, left[gone])
            stays = torch.ones(len(left), dtype=torch.bool)
            stays[gone] = False
            self._left[stream] = left[stays]

    def left(self) -> tuple[tuple[int, ...], ...]:
        """The channels that each stream still has."""
        return tuple(tuple(left.tolist()) for left in self._left)

    def damage(self) -> float:
        """Relative output errors of all layers, summed."""
        return sum(layer.damage() for layer in self._layers)

    def solutions(self) -> list[tuple[Tensor, Tensor]]:
        """Each layer's weights [C_out, D] without what is gone, and what its output shifts by [C_out]."""
        return [layer.solution() for layer in self._layers]

    def _losses(self, stream: int, channels: Tensor) -> Tensor:
        total = torch.zeros(len(channels))
        for layer in self._layers:
            for block in layer.blocks:
                if block.stream == stream:
                    total = total + layer.losses(block, channels)
        return total
