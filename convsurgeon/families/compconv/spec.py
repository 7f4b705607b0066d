"""CompConv: compact convolution by divide and conquer along the channels.

Zhang, Xu, Shen: "CompConv: A Compact Convolution Module for Efficient Feature Learning", CVPR-W ECV 2021,
arXiv 2106.10486. With p = C_prim primary channels and depth d, the unit computes

    B_{d-1} = primary(x)                      p channels, carries the stride
    B_{i}   = level_i(A_{i+1} ⊕ B_{i+1})      2^{d-1-i}·p channels
    A_i     = a copy of input channels        i ≥ 1, 2^{d-1-i}·p channels
    A_0     = depthwise(B_0)                  2^{d-1}·p channels, the tail; its surplus is cut
    out     = shuffle(A_0 ⊕ B_0 ⊕ A_1 ⊕ B_1 ⊕ … ⊕ A_{d-1} ⊕ B_{d-1})

Where the paper is silent this project chose: the primary conv alone carries stride and padding; the inner
convolutions keep kernel, dilation and padding mode at stride 1 with "same" padding; identity slices are the
input read at the centre of each output's receptive field (no MACs; zeros where that lies outside); no batch
norm or activation inside; a bias in every inner convolution where the original has one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from convsurgeon.families.cost import ConvShape, Cost, conv_cost
from convsurgeon.families.family import Card, Family, PlainMethod, Refusal, Spec

if TYPE_CHECKING:
    from convsurgeon.families.compconv.unit import CompConv

__all__ = ["FAMILY", "CompConvMethod", "CompConvSpec"]

MAX_DEPTH = 3
C0_CHOICES = (32, 64, 128, 256, 512)

CARD = Card(
    family="compconv",
    title="CompConv",
    paper="Zhang, Xu, Shen, CVPR-W ECV 2021, arXiv 2106.10486",
    methods="compconv32 | compconv64 | compconv128 | compconv256 | compconv512 | compconv (depth free per layer)",
    idea="Half of the output channels is inherited, half transformed, recursively; depth follows C_in / C_0.",
    good_for="deep networks with wide 3×3 convolutions that will be trained again; 20–50 % of a layer's MACs",
    bad_for="conversion without any training: it has less freedom than IGC, so its closed-form fit loses more; "
    "1×1 convolutions at depth 1, where half of the outputs become scaled copies of the other half",
    legend="d: depth, how often the output channels are halved; p: primary channels, those at the innermost that a "
    "convolution computes",
)


class CompConvSpec(Spec):
    """Depth d and primary channels p of one unit; ``tail_kernel`` is the depthwise kernel of the tail."""

    family: Literal["compconv"] = "compconv"
    depth: PositiveInt
    primary_channels: PositiveInt
    tail_kernel: tuple[PositiveInt, ...]

    @property
    def kind(self) -> int:
        """The depth."""
        return self.depth

    @classmethod
    def of(cls, shape: ConvShape, depth: int) -> CompConvSpec:
        """p = ceil(C_out / (2·(2^d − 1))), tail kernel = the convolution's own (the paper's reading)."""
        return cls(
            depth=depth,
            primary_channels=primary_channels(shape.out_channels, depth),
            tail_kernel=shape.kernel,
        )

    @property
    def identity_channels(self) -> int:
        """Input channels copied into the output: p·(2^{d−1} − 1)."""
        return self.primary_channels * (2 ** (self.depth - 1) - 1)

    def tail_channels(self, out_channels: int) -> int:
        """Channels of the depthwise tail: 2^{d−1}·p less the surplus over ``out_channels``."""
        surplus = 2 * (2**self.depth - 1) * self.primary_channels - out_channels
        return int(2 ** (self.depth - 1) * self.primary_channels - surplus)

    def level_channels(self) -> tuple[int, ...]:
        """Channels read and written by each level, deepest first: 2p, 4p, …"""
        return tuple(2**i * self.primary_channels for i in range(1, self.depth))

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """The paper's complexity, less the MACs of the tail's surplus."""
        pieces = [(shape.in_channels, self.primary_channels, shape.area, 1)]
        pieces += [(width, width, shape.area, 1) for width in self.level_channels()]
        tail = self.tail_channels(shape.out_channels)
        if tail:
            pieces.append((tail, tail, math.prod(self.tail_kernel), tail))
        return Cost.total(
            conv_cost(c_in, c_out, area, groups=groups, bias=shape.bias, positions=positions)
            for c_in, c_out, area, groups in pieces
        )

    def misfit(self, shape: ConvShape) -> str | None:
        """Ordinary convolutions with groups=1; the copies must be there to read, and 0 ≤ tail ≤ B_0."""
        if reason := _unsuited(shape):
            return reason
        if len(self.tail_kernel) != len(shape.kernel):
            return f"the tail's kernel {self.tail_kernel} has not the axes of {shape.kernel}"
        if self.identity_channels > shape.in_channels:
            return f"d={self.depth} copies {self.identity_channels} channels, the input has {shape.in_channels}"
        tail = self.tail_channels(shape.out_channels)
        if tail < 0:
            return f"{shape.out_channels} output channels are too few for d={self.depth}"
        if tail > 2 ** (self.depth - 1) * self.primary_channels:
            return f"p={self.primary_channels} is too few for {shape.out_channels} output channels at d={self.depth}"
        return None

    def build(self, shape: ConvShape) -> CompConv:
        """A freshly initialised unit."""
        from convsurgeon.families.compconv.unit import CompConv

        return CompConv(shape, self)

    def describe(self) -> str:
        """E.g. ``CompConv d=2 p=22``."""
        return f"CompConv d={self.depth} p={self.primary_channels}"


def primary_channels(out_channels: int, depth: int) -> int:
    """C_prim = ceil(C_out / (2·(2^d − 1)))."""
    return -(-out_channels // (2 * (2**depth - 1)))


def depth_for(in_channels: int, c0: int) -> int:
    """d = min(log2(max(1, C_in / C_0)) + 1, 3), with the floor of the logarithm."""
    return min(max(1, in_channels // c0).bit_length(), MAX_DEPTH)


def _unsuited(shape: ConvShape) -> str | None:
    """Why no depth could fit; None where one might."""
    if shape.transposed:
        return "transposed convolution: CompConv copies input channels, which have another size there"
    if shape.groups != 1:
        return f"grouped convolution (groups={shape.groups}): CompConv replaces dense ones"
    return None


@dataclass(frozen=True)
class CompConvMethod(PlainMethod):
    """``compconv128`` and the like (``c0`` set: one depth per layer) or ``compconv`` (``c0`` None: depth free)."""

    c0: int | None = None
    family: ClassVar[str] = "compconv"

    @property
    def name(self) -> str:
        """The word on the command line."""
        return "compconv" if self.c0 is None else f"compconv{self.c0}"

    @property
    def has_choice(self) -> bool:
        """Depth is free without C_0."""
        return self.c0 is None

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[CompConvSpec, ...] | Refusal:
        """One spec (the formula's depth, lowered where it does not fit) or one per fitting depth."""
        if reason := _unsuited(shape) or _map_too_small(shape, output_size):
            return Refusal(reason)
        deepest = MAX_DEPTH if self.c0 is None else depth_for(shape.in_channels, self.c0)
        specs = [CompConvSpec.of(shape, depth) for depth in range(deepest, 0, -1)]
        fitting = [spec for spec in specs if spec.misfit(shape) is None]
        if not fitting:
            return Refusal(specs[-1].misfit(shape) or "no depth fits")
        return tuple(fitting) if self.c0 is None else (fitting[0],)


def _map_too_small(shape: ConvShape, output_size: tuple[int, ...]) -> str | None:
    """The inner convolutions pad the output map; reflection and wrapping need it larger than the padding."""
    if shape.padding_mode not in ("reflect", "circular"):
        return None
    for size, kernel, dilation in zip(output_size, shape.kernel, shape.dilation, strict=True):
        pad = -(-dilation * (kernel - 1) // 2)
        if pad >= size:
            return f"{shape.padding_mode} padding of {pad} needs a map larger than {size}"
    return None


def _parse(text: str) -> CompConvMethod | None:
    """Read ``compconv`` or ``compconvC0``; None if the text is neither."""
    match = re.fullmatch(r"compconv(\d*)", text)
    if match is None or (match[1] and int(match[1]) not in C0_CHOICES):
        return None
    return CompConvMethod(int(match[1]) if match[1] else None)


FAMILY = Family(
    card=CARD,
    spec=CompConvSpec,
    words=("compconv", f"compconv{'|'.join(map(str, C0_CHOICES))}"),
    examples=("compconv", *(f"compconv{c0}" for c0 in C0_CHOICES)),
    parse=_parse,
    free=CompConvMethod(),
    proxy_weight=4.0,
)
