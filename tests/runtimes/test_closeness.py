"""How far two lists of tensors are apart."""

from __future__ import annotations

import math

import torch

from convsurgeon.runtimes.closeness import disagreement


def test_equal_outputs_are_apart_by_a_plain_zero() -> None:
    """Never minus zero, which would be told; a NaN on one side only is infinitely far."""
    x = torch.ones(2, 3)
    assert math.copysign(1, disagreement([x], [x.clone()])) == 1
    assert disagreement([x], [x + 0.5]) == 0.5
    assert disagreement([x], [torch.full_like(x, math.nan)]) == math.inf
