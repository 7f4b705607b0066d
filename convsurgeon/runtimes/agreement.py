"""Whether a converted graph still computes what the module does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

__all__ = ["TOLERANCE", "as_tensors", "disagreement"]

TOLERANCE = 1e-4


def as_tensors(output: Any) -> list[torch.Tensor]:
    """Every tensor that a module returned, in order, on the CPU."""
    return [leaf.detach().cpu() for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


def disagreement(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> float:
    """The largest |a − b| / max(1, max |a|) over all outputs; infinite for other numbers or shapes of outputs."""
    if len(expected) != len(found) or any(a.shape != b.shape for a, b in zip(expected, found, strict=False)):
        return float("inf")
    return max((_gap(a.double(), b.double()) for a, b in zip(expected, found, strict=True)), default=0.0)


def _gap(a: torch.Tensor, b: torch.Tensor) -> float:
    if not a.numel():
        return 0.0
    # Untrained networks overflow; what is infinite or undefined on both sides agrees.
    same = (a == b) | (a.isnan() & b.isnan())
    finite = a[a.isfinite()].abs()
    scale = max(1.0, float(finite.amax())) if finite.numel() else 1.0
    gaps = torch.where(same, 0.0, (a - b).abs() / scale)
    return float("inf") if bool(gaps.isnan().any()) else float(gaps.amax())
