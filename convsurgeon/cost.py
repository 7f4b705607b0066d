"""MACs and parameters from numbers alone: the only place where a multiply-accumulate is counted.

One MAC is one multiply-accumulate. Papers often print MACs under the name "FLOPs"; here FLOPs = 2 × MACs.
Additions of a bias, batch norm, activations and pooling count nothing, as in the field's counters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["ConvShape", "Cost", "conv_cost"]


@dataclass(frozen=True)
class Cost:
    """What something costs: ``macs`` (multiply-accumulates) and ``params`` (parameters)."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.macs - other.macs, self.params - other.params)

    @staticmethod
    def total(costs: Iterable[Cost]) -> Cost:
        """Sum costs; nothing sums to zero."""
        return sum(costs, Cost(0, 0))


class ConvShape(BaseModel):
    """The numbers that define a convolution; one entry per spatial axis in each tuple."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | Literal["same", "valid"]
    dilation: tuple[int, ...]
    groups: int = 1
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    bias: bool = False

    @property
    def area(self) -> int:
        """Kernel area S, e.g. 9 for 3×3."""
        return math.prod(self.kernel)

    def describe(self) -> str:
        """One line for people, e.g. ``64→128 3×3 /2``."""
        text = f"{self.in_channels}→{self.out_channels} {'×'.join(map(str, self.kernel))}"
        if set(self.stride) != {1}:
            text += f" /{'×'.join(map(str, dict.fromkeys(self.stride)))}"
        if set(self.dilation) != {1}:
            text += f" dilation {'×'.join(map(str, dict.fromkeys(self.dilation)))}"
        if self.groups > 1:
            text += f" groups {self.groups}"
        return text


def conv_cost(
    in_channels: int, out_channels: int, area: int, *, groups: int = 1, bias: bool = False, positions: int
) -> Cost:
    """Cost of one convolution that writes ``positions`` output positions (batch × height × width, all calls).

    MACs = positions · C_out · C_in / groups · S, params = C_out · C_in / groups · S (+ C_out for a bias).
    """
    weights = out_channels * (in_channels // groups) * area
    return Cost(macs=positions * weights, params=weights + (out_channels if bias else 0))
