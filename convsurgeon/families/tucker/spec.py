"""Tucker: a 1×1 convolution to few channels, a thin k×k one among few, and a 1×1 back to all.

Kim, Park, Yoo, Choi, Yang, Shin: "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications", ICLR 2016, arXiv 1511.06530. A kernel W[o, c, s] is written as Σ_pq B[o, q]·G[q, p, s]·A[p, c]: a Tucker
decomposition over the channels. All three are dense, for devices that are slow on groups.

The k×k convolution has stride, padding and dilation; nothing stands between the three, and the last one has the bias.
The first writes a map as large as the input: ``stretch`` says how many positions it computes for each of the output's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from convsurgeon.families.cost import ConvShape, Cost, conv_cost
from convsurgeon.families.family import Card, Family, PlainMethod, Refusal, Spec
from convsurgeon.families.stretch import stretch

if TYPE_CHECKING:
    from convsurgeon.families.tucker.unit import Tucker

__all__ = ["FAMILY", "TuckerMethod", "TuckerSpec"]

CARD = Card(
    family="tucker",
    title="Tucker",
    paper="Kim, Park, Yoo, Choi, Yang, Shin, ICLR 2016, arXiv 1511.06530",
    methods="tucker (both widths free) | tucker-rNxM, e.g. tucker-r64x96, with N and M channels around the k×k",
    idea="A 1×1 convolution to few channels, a thin k×k one, a 1×1 back: all dense.",
    good_for="wide layers on devices that are slow on groups; where inputs and outputs both say much twice",
    bad_for="1×1 and grouped convolutions, and narrow layers: two thin 1×1 convolutions cost time without saving many "
    "MACs",
    legend="r: channels that the k×k convolution reads × channels that it writes, between two 1×1 convolutions",
)

# Shares of the input and of the output channels that are worth trying, and how far the two may be apart.
SHARES = tuple(Fraction(step, 16) for step in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12))
FURTHEST = 2
BLOCK = 8


class TuckerSpec(Spec):
    """``in_rank`` channels before and ``out_rank`` channels after the k×k convolution.

    ``stretch`` (a, b): the first convolution computes a/b positions for each of the output's. It follows from the size
    of the input map; (1, 1) where the output is as large.
    """

    family: Literal["tucker"] = "tucker"
    in_rank: PositiveInt
    out_rank: PositiveInt
    stretch: tuple[PositiveInt, PositiveInt] = (1, 1)

    @property
    def kind(self) -> int:
        """There is one kind only."""
        return 1

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """Per output position C_in·R_1·a/b + R_1·R_2·S + R_2·C_out."""
        more, whole = self.stretch
        return Cost.total(
            (
                conv_cost(shape.in_channels, self.in_rank, 1, positions=positions * more // whole),
                conv_cost(self.in_rank, self.out_rank, shape.area, positions=positions),
                conv_cost(self.out_rank, shape.out_channels, 1, bias=shape.bias, positions=positions),
            )
        )

    def misfit(self, shape: ConvShape) -> str | None:
        """Ordinary convolutions with groups=1 and a kernel larger than 1."""
        return unsuited(shape)

    def build(self, shape: ConvShape) -> Tucker:
        """A freshly initialised unit."""
        from convsurgeon.families.tucker.unit import Tucker

        return Tucker(shape, self)

    def describe(self) -> str:
        """E.g. ``Tucker r64×96``."""
        return f"Tucker r{self.in_rank}×{self.out_rank}"


def unsuited(shape: ConvShape) -> str | None:
    """Why no ranks could fit; None where some might."""
    if shape.transposed:
        return "transposed convolution: Tucker splits ordinary ones"
    if shape.groups != 1:
        return f"grouped convolution (groups={shape.groups}): Tucker splits dense ones"
    if shape.area == 1:
        return "a 1×1 kernel: Tucker's own 1×1 convolutions would only add to it"
    return None


@dataclass(frozen=True)
class TuckerMethod(PlainMethod):
    """``tucker`` (both widths free) or ``tucker-rNxM``."""

    in_rank: int | None = None
    out_rank: int | None = None
    family: ClassVar[str] = "tucker"

    @property
    def name(self) -> str:
        """The word on the command line."""
        return "tucker" if self.in_rank is None else f"tucker-r{self.in_rank}x{self.out_rank}"

    @property
    def has_choice(self) -> bool:
        """The widths are free without numbers in the name."""
        return self.in_rank is None

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[TuckerSpec, ...] | Refusal:
        """The named unit, or pairs of widths: the share of the output channels is the greater one, and not by too much.

        Each of the input's few channels serves all kernel positions; the other way round costs as much and loses more.
        """
        if reason := unsuited(shape):
            return Refusal(reason)
        longer = stretch(shape, range(len(shape.kernel)), output_size, input_size)
        if longer is None:
            return Refusal("maps of several sizes: what the first convolution would cost on them is not known")
        ratio = (longer.numerator, longer.denominator)
        if self.in_rank is not None and self.out_rank is not None:
            return (TuckerSpec(in_rank=self.in_rank, out_rank=self.out_rank, stretch=ratio),)
        pairs = {
            (_blocks(ahead * shape.in_channels), _blocks(behind * shape.out_channels))
            for ahead in SHARES
            for behind in SHARES
            if ahead <= behind <= FURTHEST * ahead
        }
        return tuple(TuckerSpec(in_rank=a, out_rank=b, stretch=ratio) for a, b in sorted(pairs))


def _blocks(channels: Fraction) -> int:
    """A width in whole blocks of 8, one at least."""
    return max(1, round(channels / BLOCK)) * BLOCK


def _parse(text: str) -> TuckerMethod | None:
    """Read ``tucker`` or ``tucker-rNxM``; None if the text is neither."""
    if text == "tucker":
        return TuckerMethod()
    match = re.fullmatch(r"tucker-r([1-9]\d*)x([1-9]\d*)", text)
    return None if match is None else TuckerMethod(int(match[1]), int(match[2]))


FAMILY = Family(
    card=CARD,
    spec=TuckerSpec,
    words=("tucker", "tucker-rNxN"),
    examples=("tucker", "tucker-r64x64"),
    parse=_parse,
    free=TuckerMethod(),
    proxy_weight=1.0,
)
