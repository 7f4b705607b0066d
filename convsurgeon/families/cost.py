"""MACs and parameters from numbers alone: the only place where a multiply-accumulate is counted.

One MAC is one multiply-accumulate. Papers often print MACs under the name "FLOPs"; here FLOPs = 2 × MACs.
Additions of a bias, batch norm, activations and pooling count nothing, as in the field's counters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["ConvShape", "Cost", "conv_cost", "pads_by_itself"]


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
    """The numbers that define a convolution; one entry per spatial axis in each tuple.

    ``padding`` is what torch takes, or pairs (before, after) per axis, or "dynamic": TensorFlow's SAME, which pads
    for ceil(size / stride) outputs, the smaller half ahead. ``output_padding`` belongs to a transposed convolution;
    None for any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | tuple[tuple[int, int], ...] | Literal["same", "valid", "dynamic"]
    dilation: tuple[int, ...]
    groups: int = 1
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    bias: bool = False
    output_padding: tuple[int, ...] | None = None

    @property
    def flaw(self) -> str | None:
        """What no convolution has, in numbers that somebody wrote; None where there is nothing of the kind."""
        each_axis = (self.kernel, self.stride, self.dilation)
        if min(self.in_channels, self.out_channels, self.groups, *itertools.chain(*each_axis)) < 1:
            return "channels, groups, kernel, stride and dilation are whole numbers from 1 on"
        if self.in_channels % self.groups or self.out_channels % self.groups:
            return f"{self.in_channels} and {self.out_channels} channels can't be cut into {self.groups} groups"
        added = () if isinstance(self.padding, str) else self.padding
        lengths = {len(numbers) for numbers in (*each_axis, added, self.output_padding or ()) if numbers}
        if len(lengths) != 1 or not lengths <= {1, 2, 3}:
            return "kernel, stride, dilation and padding have one number for each of 1, 2 or 3 axes"
        if any(isinstance(number, int) and number < 0 for number in (*added, *(self.output_padding or ()))):
            return "a padding is no less than 0"
        return None

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution, whose MACs are counted per *input* position."""
        return self.output_padding is not None

    def pads(self, size: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """What is added before and after each axis of a map of ``size`` (H, W).

        Numbers where the padding does not follow the size, which may then be anything, also while a graph is traced.
        """
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        if self.padding == "valid":
            return ((0, 0),) * len(reach)
        if self.padding == "same":
            return tuple((r // 2, r - r // 2) for r in reach)
        if self.padding == "dynamic":
            # Indexed, not iterated: a traced size has no end.
            wanted = [_towards_whole_steps(size[axis], self.stride[axis], r) for axis, r in enumerate(reach)]
            return tuple((w // 2, w - w // 2) for w in wanted)
        return tuple(pad if isinstance(pad, tuple) else (pad, pad) for pad in self.padding)

    def keeps_length(self, axis: int) -> bool:
        """Whether the output is as long as the input along an axis, whatever that length is."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        return self.stride[axis] == 1 and sum(self.pads((1,) * len(self.kernel))[axis]) == reach

    @property
    def area(self) -> int:
        """Kernel area S, e.g. 9 for 3×3."""
        return math.prod(self.kernel)

    def cost(self, positions: int) -> Cost:
        """Of the convolution itself; ``positions`` as in `conv_cost`."""
        return conv_cost(
            self.in_channels, self.out_channels, self.area, groups=self.groups, bias=self.bias, positions=positions
        )

    def describe(self) -> str:
        """One line for people, e.g. ``64→128 3×3 /2``."""
        text = f"{self.in_channels}→{self.out_channels} {'×'.join(map(str, self.kernel))}"
        if set(self.stride) != {1}:
            text += f" /{'×'.join(map(str, dict.fromkeys(self.stride)))}"
        if set(self.dilation) != {1}:
            text += f" dilation {'×'.join(map(str, dict.fromkeys(self.dilation)))}"
        if self.groups > 1:
            text += f" groups {self.groups}"
        return f"{text} transposed" if self.transposed else text


def _towards_whole_steps(length: int, stride: int, reach: int) -> int:
    """What TensorFlow's SAME adds to an axis, in arithmetic that a traced length takes part in."""
    if not reach:
        return 0
    missing = -length % stride + reach + 1 - stride
    return missing if reach + 1 >= stride else max(missing, 0)


def conv_cost(
    in_channels: int, out_channels: int, area: int, *, groups: int = 1, bias: bool = False, positions: int
) -> Cost:
    """Cost of one convolution that writes ``positions`` output positions (batch × height × width, all calls).

    A transposed one does its work per position that it reads, so there they are input positions.
    MACs = positions · C_out · C_in / groups · S, params = C_out · C_in / groups · S (+ C_out for a bias).
    """
    weights = out_channels * (in_channels // groups) * area
    return Cost(macs=positions * weights, params=weights + (out_channels if bias else 0))


def pads_by_itself(shape: ConvShape) -> bool:
    """Whether the padding is none that torch's convolutions can express."""
    return shape.padding == "dynamic" or any(isinstance(pad, tuple) for pad in shape.padding)
