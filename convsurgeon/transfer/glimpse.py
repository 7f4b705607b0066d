"""A few images of a site's traffic, kept whole: enough to tell what its candidates lose at least."""

from __future__ import annotations

import math

from torch import Tensor

from convsurgeon.families.regression.samples import Sample, Sampler, Samples
from convsurgeon.transfer.traffic import Traffic

__all__ = ["Glimpse"]

POSITIONS = 2048
FEWEST_IMAGES = 4


class Glimpse:
    """Images evenly chosen among all that reach a site, as many as give `POSITIONS`; fed call by call."""

    def __init__(self, traffic: Traffic, unknowns: int, seed: int) -> None:
        each = traffic.positions / traffic.images
        images = min(traffic.images, max(FEWEST_IMAGES, math.ceil(POSITIONS / each)))
        self._stride = traffic.images // images
        self._sampler = Sampler(images, round(images * each), unknowns, seed)
        self._seen = 0
        self._kept: list[Sample] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        """Keep what of one call is chosen; the maps [N, C, H, W] are copied."""
        mine = slice(-self._seen % self._stride, None, self._stride)
        self._seen += len(x)
        if len(x[mine]):
            self._kept.append(self._sampler.sample(x[mine].clone(), y[mine]))

    def samples(self) -> Samples:
        """What was kept, as float32."""
        return Samples(self._kept.__iter__).single()
