"""Whether a converted graph still computes what the module does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs, tensors_in

__all__ = ["TOLERANCE", "allowed", "as_tensors", "disagreement", "largest_disagreement"]

TOLERANCE = 1e-4
# Half precision rounds at every operation, so that regrouped sums differ in their last digits.
_COARSE = 3e-2


def allowed(model: nn.Module) -> float:
    """The disagreement that a network's precision explains: 1e-4, or 3e-2 where it holds halves."""
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())
    return _COARSE if half else TOLERANCE


def as_tensors(output: Any) -> list[torch.Tensor]:
    """Every tensor that a module returned, in order, on the CPU."""
    return [tensor.detach().cpu() for tensor in tensors_in(output)]


def largest_disagreement(
    model: nn.Module, run: Callable[[Inputs], Sequence[torch.Tensor]], cases: Iterable[Inputs]
) -> float:
    """What ``run`` differs by from the module, over all of the inputs.

    Raises:
        ModelRunError: the module fails on these inputs.
    """
    with torch.no_grad():
        return max(disagreement(as_tensors(case.call(model)), run(case)) for case in cases)


def disagreement(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], *, smallest: float = 1.0) -> float:
    """The largest |a − b| / max(``smallest``, max |a|) over all outputs; infinite for other numbers or shapes."""
    if len(expected) != len(found) or any(a.shape != b.shape for a, b in zip(expected, found, strict=False)):
        return float("inf")
    return max((_gap(a, b, smallest) for a, b in zip(expected, found, strict=True)), default=0.0)


def _gap(a: torch.Tensor, b: torch.Tensor, smallest: float) -> float:
    if not a.numel():
        return 0.0
    if a.dtype == b.dtype and a.dtype in (torch.float32, torch.float64):
        # Copies in float64 of a whole pyramid of features take longer than the network itself.
        apart = _largest(a - b)
        if math.isfinite(apart):
            return apart / max(smallest, _largest(a))
    return _gap_of_any(a.double(), b.double(), smallest)


def _largest(x: torch.Tensor) -> float:
    """max |x|; NaN where x holds one."""
    low, high = torch.aminmax(x)
    return max(abs(float(low)), abs(float(high)))


def _gap_of_any(a: torch.Tensor, b: torch.Tensor, smallest: float) -> float:
    # Untrained networks overflow; what is infinite or undefined on both sides agrees.
    same = (a == b) | (a.isnan() & b.isnan())
    finite = a[a.isfinite()].abs()
    scale = max(smallest, float(finite.amax())) if finite.numel() else smallest
    gaps = torch.where(same, 0.0, (a - b).abs() / scale)
    return float("inf") if bool(gaps.isnan().any()) else float(gaps.amax())
