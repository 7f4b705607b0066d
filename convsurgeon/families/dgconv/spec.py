"""DGConv: dynamic grouping convolution, whose group number and connections are learned.

Zhang, Li, Shao, Luo: "Differentiable Learning-to-Group Channels via Groupable Convolutional Neural Networks",
ICCV 2019, arXiv 1908.05867. The weight is U ⊙ ω with a binary relationship matrix

    U = U_1 ⊗ … ⊗ U_K,   U_k = g_k·1 + (1 − g_k)·I   (2×2),   g = (sign(g̃) + 1) / 2,   K = log2 C

U_1 is the most significant factor. All gates 1: dense; all 0: 2^K groups; otherwise 2^(number of zeros) groups.

The paper has C_in = C_out = 2^K. Here K is the number of factors 2 in gcd(C_in, C_out), and every entry of U is
expanded to a block of C_out/2^K × C_in/2^K channels; without such a factor there is nothing to group. In training
a DGConv is a dense masked convolution and saves nothing; hardened, it is permute → grouped convolution → permute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from convsurgeon.families.cost import ConvShape, Cost, pads_by_itself
from convsurgeon.families.family import Card, Family, LearnedSpec, Refusal

if TYPE_CHECKING:
    from convsurgeon.families.dgconv.unit import DGConv, HardenedDGConv

__all__ = ["FAMILY", "DGConvMethod", "DGConvSpec", "gate_count"]

CARD = Card(
    family="dgconv",
    title="DGConv",
    paper="Zhang, Li, Shao, Luo, ICCV 2019, arXiv 1908.05867",
    methods="dgconv (open gates without a target; 2^z groups per layer, hardened, with one)",
    idea="A grouped convolution whose grouping is learned; with all gates open it is the pretrained convolution.",
    good_for="starting a training run exactly at the original: the conversion with open gates is lossless",
    bad_for="conversion without training (a plain grouping cuts every path between groups), and speed: "
    "many thin groups gain few milliseconds; networks that are grouped already have nothing to give",
    legend="groups: how many parts the channels fall into; open gates: none yet, training decides",
)


def gate_count(in_channels: int, out_channels: int) -> int:
    """K: the number of factors 2 in gcd(C_in, C_out); log2 C for C_in = C_out = 2^K."""
    common = math.gcd(in_channels, out_channels)
    return (common & -common).bit_length() - 1


class DGConvSpec(LearnedSpec):
    """``groups`` None: gates to be learned, all open. Otherwise hardened to that many groups (a power of two)."""

    family: Literal["dgconv"] = "dgconv"
    groups: PositiveInt | None = None

    @property
    def kind(self) -> int:
        """The groups."""
        return self.groups or 1

    @property
    def learns(self) -> bool:
        """While the gates are open."""
        return self.groups is None

    def gate_count(self, shape: ConvShape) -> int:
        """K, see `gate_count`."""
        return gate_count(shape.in_channels, shape.out_channels)

    def closed(self, gates: int) -> DGConvSpec:
        """2^gates groups."""
        return DGConvSpec(groups=2**gates)

    def within(self, groups: int) -> DGConvSpec:
        """The groups inside one of the convolution's."""
        return DGConvSpec(groups=None if self.groups is None else self.groups // groups)

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """Dense while the gates are open (plus K gate parameters); a grouped convolution once hardened."""
        cost = shape.model_copy(update={"groups": self.groups or 1}).cost(positions)
        gates = gate_count(shape.in_channels, shape.out_channels) if self.groups is None else 0
        return cost + Cost(macs=0, params=gates)

    def misfit(self, shape: ConvShape) -> str | None:
        """2^z times the convolution's groups, at most as many as the channels have factors 2; or open gates."""
        found = DGConvMethod(hardened=self.groups is not None).specs(shape, ())
        if isinstance(found, Refusal):
            return found.reason
        # As many groups as the convolution has: gates that were learned and all stayed open.
        if self in found or self.groups == shape.groups:
            return None
        return f"expected one of {', '.join(str(spec.groups) for spec in found)} groups"

    def build(self, shape: ConvShape) -> DGConv | HardenedDGConv:
        """A freshly initialised module."""
        from convsurgeon.families.dgconv.unit import DGConv, HardenedDGConv

        return DGConv(shape) if self.groups is None else HardenedDGConv(shape, self)

    def describe(self) -> str:
        """E.g. ``DGConv 8 groups``."""
        return "DGConv open gates" if self.groups is None else f"DGConv {self.groups} groups"


@dataclass(frozen=True)
class DGConvMethod:
    """``dgconv``; ``hardened`` proposes 2^z groups, otherwise the one spec has open gates."""

    hardened: bool = False
    family: ClassVar[str] = "dgconv"
    name: ClassVar[str] = "dgconv"

    @property
    def has_choice(self) -> bool:
        """The number of groups is free once hardened."""
        return self.hardened

    @property
    def untargeted_note(self) -> str | None:
        """That nothing is saved yet."""
        return (
            "dgconv without a target keeps every gate open: cost unchanged, output equal to the original; "
            "give --target to group now, or train the gates"
        )

    def under_target(self) -> DGConvMethod:
        """2^z groups."""
        return DGConvMethod(hardened=True)

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[DGConvSpec, ...] | Refusal:
        """Open gates, or every power of two of groups (of finer groups, where there are some already)."""
        if shape.transposed:
            return Refusal("transposed convolution: DGConv groups ordinary ones")
        gates = gate_count(shape.in_channels // shape.groups, shape.out_channels // shape.groups)
        if gates == 0:
            reads, writes = shape.in_channels // shape.groups, shape.out_channels // shape.groups
            inside = "" if shape.groups == 1 else " in each group"
            return Refusal(f"{reads} and {writes} channels{inside} have no common factor 2")
        if not self.hardened:
            return _open_gates(shape)
        return tuple(DGConvSpec(groups=shape.groups * 2**z) for z in range(1, gates + 1))


def _open_gates(shape: ConvShape) -> tuple[DGConvSpec, ...] | Refusal:
    """Gates to be learned, for the convolutions that `DGConv` can be."""
    if len(shape.kernel) != 2:
        return Refusal("learnable gates exist for Conv2d only; with a target DGConv groups it at once")
    if shape.groups != 1:
        return Refusal("learnable gates exist for groups=1 only; with a target DGConv groups it more finely at once")
    if pads_by_itself(shape):
        return Refusal("learnable gates need a padding that Conv2d has; with a target DGConv groups it at once")
    return (DGConvSpec(),)


FAMILY = Family(
    card=CARD,
    spec=DGConvSpec,
    words=("dgconv",),
    examples=("dgconv",),
    parse=lambda text: DGConvMethod() if text == "dgconv" else None,
    free=DGConvMethod(hardened=True),
    proxy_weight=8.0,
)
