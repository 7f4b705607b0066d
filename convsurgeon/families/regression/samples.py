"""What a fit sees of one site: inputs it gets and outputs it should give, batch by batch, as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from convsurgeon.base.errors import UsageError
from convsurgeon.families.regression.patches import columns_at

__all__ = ["Sample", "Sampler", "Samples", "SiteData", "sample_cap"]

Batch = tuple[Tensor, Tensor]

HELD_EVERY = 5
HELD_ROWS = 2048
SAMPLES_PER_UNKNOWN = 8
FEWEST_SAMPLES = 8192


def sample_cap(unknowns: int) -> int:
    """How many positions are worth reading for that many unknowns per output."""
    return max(FEWEST_SAMPLES, SAMPLES_PER_UNKNOWN * unknowns)


@dataclass(frozen=True)
class Sample:
    """Chosen positions of one batch: the input map ``x`` [N, C_in, H, W], flat output positions to fit on and to
    hold out ([P], [Q], over N·H'·W'), and the wanted outputs there ([P, C_out], [Q, C_out])."""

    x: Tensor
    chosen: Tensor
    held: Tensor
    y_chosen: Tensor
    y_held: Tensor


@dataclass(frozen=True)
class Samples:
    """The samples of a site, started anew for every pass."""

    start: Callable[[], Iterator[Sample]]

    def __iter__(self) -> Iterator[Sample]:
        return self.start()

    def only(self, outputs: Tensor) -> Samples:
        """The same samples with some of the outputs [n]."""

        def start() -> Iterator[Sample]:
            for sample in self:
                chosen, held = sample.y_chosen[:, outputs], sample.y_held[:, outputs]
                yield replace(sample, y_chosen=chosen, y_held=held)

        return Samples(start)

    def single(self) -> Samples:
        """The same samples with maps and outputs as float32."""

        def start() -> Iterator[Sample]:
            for s in self:
                yield replace(s, x=s.x.float(), y_chosen=s.y_chosen.float(), y_held=s.y_held.float())

        return Samples(start)

    def within(self, budget: int) -> Samples:
        """The same samples, kept in memory after the first pass if they take at most ``budget`` bytes."""
        kept: list[Sample] = []
        state = {"bytes": 0, "whole": False}

        def start() -> Iterator[Sample]:
            if state["whole"]:
                yield from kept
                return
            kept.clear()
            state["bytes"] = 0
            for sample in self:
                state["bytes"] += sample.x.nbytes + sample.y_chosen.nbytes + sample.y_held.nbytes
                if state["bytes"] <= budget:
                    kept.append(sample)
                else:
                    kept.clear()
                yield sample
            state["whole"] = state["bytes"] <= budget

        return Samples(start)


@dataclass(frozen=True)
class SiteData:
    """A site's batches ``(x [N, C_in, H, W], y [N, C_out, H', W'])``, from a function that starts them anew.

    ``images`` and ``positions`` are the totals of one pass: the sum of N, and of N·H'·W'. Every pass must give
    the same images in the same order; how they are cut into batches does not matter.
    """

    batches: Callable[[], Iterable[Batch]]
    images: int
    positions: int

    @classmethod
    def of(cls, pairs: Sequence[Batch]) -> SiteData:
        """Data that is in memory already.

        Raises:
            UsageError: there are no pairs, or no positions in them.
        """
        images = sum(len(y) for _, y in pairs)
        positions = sum(y.numel() // y.shape[1] for _, y in pairs)
        if positions == 0:
            raise UsageError("the calibration data of a site is empty; pass at least one batch (inputs, outputs).")
        return cls(lambda: pairs, images, positions)

    def samples(self, unknowns: int, seed: int, *, held_out: bool = False) -> Samples:
        """Positions chosen with ``seed``, as many as that many unknowns per output call for."""

        def start() -> Iterator[Sample]:
            sampler = Sampler(self.images, self.positions, unknowns, seed, held_out=held_out)
            for x, y in self.batches():
                yield sampler.sample(x, y)

        return Samples(start)


class Sampler:
    """Chooses output positions of one pass with a seed; the choice does not depend on the batches' sizes.

    With ``held_out`` every fifth image is told apart, so that a fit can be judged on images it was not fitted on; with
    fewer than five images none is.
    """

    def __init__(self, images: int, positions: int, unknowns: int, seed: int, *, held_out: bool = False) -> None:
        positions = max(1, positions)
        self._share = min(1.0, sample_cap(unknowns) / positions)
        holds = held_out and images >= HELD_EVERY
        self._held_share = min(1.0, HELD_ROWS * HELD_EVERY / positions) if holds else 0.0
        self._random = np.random.default_rng(seed)
        self._image = 0

    def choose(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Flat positions in ``y`` [N, C, H', W'] to fit on [P] and to hold out [Q]."""
        images, each = len(y), y.numel() // max(1, len(y) * y.shape[1])
        drawn = self._random.random((images, each))
        numbers = np.arange(self._image, self._image + images)[:, None]
        held = (numbers % HELD_EVERY == HELD_EVERY - 1) & (self._held_share > 0)
        self._image += images
        return _flat((drawn < self._share) & ~held), _flat((drawn < self._held_share) & held)

    def sample(self, x: Tensor, y: Tensor) -> Sample:
        """The chosen positions of a batch."""
        chosen, held = self.choose(y)
        return Sample(x, chosen, held, columns_at(y, chosen), columns_at(y, held))


def _flat(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))
