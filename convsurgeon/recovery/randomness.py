"""Random numbers that depend on where a run is, not on how it got there: the reason why a resumed run ends the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from convsurgeon.base.generators import kept_generators, reseed_torch

__all__ = ["mixed", "reseed", "untouched_generators"]


def mixed(*numbers: int) -> int:
    """One seed below 2^32 from several non-negative numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def reseed(*numbers: int) -> None:
    """Set torch's, Python's and numpy's global generators from the numbers (a seed and a step, say)."""
    seed = mixed(*numbers)
    reseed_torch(seed)
    random.seed(seed)
    # Transforms of callers use the old global generator.
    np.random.seed(seed)


@contextmanager
def untouched_generators(device: torch.device) -> Iterator[None]:
    """Whatever happens inside on ``device``, the caller's generators are as they were afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with kept_generators(device):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
