"""One pass over a site's samples, from which come the moments to fit with and the samples that are held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.moments import CHUNK_BYTES, Linear, MomentSum
from convsurgeon.families.regression.patches import patches_at, sources_at
from convsurgeon.families.regression.samples import Sample, Samples

__all__ = ["Collected", "Gathering", "collect", "collect_groups"]


@dataclass(frozen=True)
class Collected:
    """Sums over the images to fit on, and samples [Q, D], [Q, C_out] of the images held out."""

    fitted: MomentSum
    held_u: Tensor
    held_y: Tensor


class Gathering:
    """One pass over a site's samples, fed sample by sample; ``originals`` are its groups, one matrix each."""

    def __init__(self, shape: ConvShape, *originals: Linear) -> None:
        self._shape = shape
        self._sums = [MomentSum(original) for original in originals]
        self._columns = sum(original.weight.shape[1] for original in originals)
        self._rows = max(1, CHUNK_BYTES // (4 * self._columns))
        self._waiting: list[tuple[Tensor, Tensor]] = []
        outputs = sum(len(original.bias) for original in originals)
        self._held = [(torch.zeros(0, self._columns), torch.zeros(0, outputs))]

    def add(self, sample: Sample) -> None:
        """Add one batch's sample."""
        parts = torch.split(sample.chosen, self._rows), torch.split(sample.y_chosen, self._rows)
        for chosen, y in zip(*parts, strict=True):
            self._waiting.append(self._problem(sample.x, chosen, y))
            # As many rows as unknowns take half of a covariance's room, which all sites of a pass have at once.
            if sum(len(u) for u, _ in self._waiting) * len(self._sums) >= self._columns:
                self._settle()
        if len(sample.held):
            u, wanted = self._problem(sample.x, sample.held, sample.y_held)
            self._held.append((u.cpu(), wanted.cpu()))

    def _settle(self) -> None:
        """Sum up what waits, at once: of a few rows alone, adding a wide layer's [D, D] takes longer than making it."""
        if not self._waiting:
            return
        u, y = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        for sums, u_group, y_group in zip(self._sums, *self._cut(u, y), strict=True):
            sums.add(u_group, y_group)

    def _problem(self, x: Tensor, chosen: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the linear problem: what a chosen output position reads, and what should come out.

        Of a transposed convolution: the input positions below, and what each of them spreads.
        """
        if not self._shape.transposed:
            return patches_at(x, self._shape, chosen), y
        u = sources_at(x, self._shape, chosen)
        parts = zip(u.chunk(len(self._sums), dim=1), self._sums, strict=True)
        return u, torch.cat([each @ s.original.weight.to(u).T + s.original.bias.to(u) for each, s in parts], dim=1)

    def _cut(self, u: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return u.chunk(len(self._sums), dim=1), y.chunk(len(self._sums), dim=1)

    def collected(self) -> tuple[Collected, ...]:
        """What the pass brought, group by group."""
        self._settle()
        u, y = (torch.cat(parts) for parts in zip(*self._held, strict=True))
        return tuple(Collected(sums, *held) for sums, *held in zip(self._sums, *self._cut(u, y), strict=True))


def collect(
    samples: Samples, shape: ConvShape, original: Linear, features: Callable[[Tensor], Tensor] | None = None
) -> Collected:
    """One pass over the samples; with ``features``, u is a patch of that map of x instead of x itself."""
    maps = samples if features is None else (replace(sample, x=features(sample.x)) for sample in samples)
    return collect_groups(maps, shape, [original])[0]


def collect_groups(samples: Iterable[Sample], shape: ConvShape, originals: Sequence[Linear]) -> tuple[Collected, ...]:
    """One pass over the samples, every group of the convolution by itself."""
    gathering = Gathering(shape, *originals)
    for sample in samples:
        gathering.add(sample)
    return gathering.collected()
