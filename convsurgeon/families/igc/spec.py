"""IGC: interleaved group convolution, a grouped spatial convolution and a grouped 1×1 across its partitions.

Zhang, Qi, Xiao, Wang: "Interleaved Group Convolutions for Deep Neural Networks", ICCV 2017, arXiv 1707.02725.
The primary convolution (k×k) has L partitions, the secondary (1×1) has M; secondary partition m reads the m-th
share of every primary partition, so that exactly one path joins every input to every output channel:

    primary (groups L) → interleave → secondary (groups M) → interleave back

The strict unit has C_mid = L·M = C_in = C_out. Here the mid width is free (C_mid any multiple of L·M), which
includes thin and wide units; L = M = 1 is a low-rank pair. The primary convolution carries stride, padding
and dilation; nothing stands between the two; the bias, where the original has one, is the secondary's.

A convolution of G groups becomes G units side by side: L and M are multiples of G and count all of them.
Of a transposed convolution the roles are swapped, which the paper found as good: the primary is a 1×1 on the small
map, and the secondary spreads it, C_mid·C_in/L + C_out·C_mid·S/M per position of that map.
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
    from convsurgeon.families.igc.unit import IGC

__all__ = ["FAMILY", "IGCMethod", "IGCSpec"]

CARD = Card(
    family="igc",
    title="IGC",
    paper="Zhang, Qi, Xiao, Wang, ICCV 2017, arXiv 1707.02725",
    methods="igc (L, M and mid width free) | igc-bN, e.g. igc-b16, the same with whole blocks of N channels in each "
    "partition | igc-lLmM, e.g. igc-l4m2 | igc-lLmM-wN with a mid width of N",
    idea="A grouped k×k convolution, then a grouped 1×1 across its partitions; the mid width is free.",
    good_for="keeping accuracy without training: its fit on activations is a closed form and loses least; "
    "few, wide partitions (M = 1) are also the ones that are faster in milliseconds",
    bad_for="speed with many thin partitions (strict L = C/2, M = 2): fewer MACs, hardly fewer milliseconds; "
    "kernels fitted without any calibration data",
    legend="L: groups of the k×k convolution; M: groups of the 1×1 one across them; w: channels between the two",
)

# Mid widths are tried at these shares of the dense convolution's MACs; steps of 1/32 let the solver land close.
COST_SHARES = tuple(step / 32 for step in range(2, 25))
WIDTH_STEP = 8


class IGCSpec(Spec):
    """L = ``primary_groups``, M = ``secondary_groups``, C_mid = ``mid_channels`` (a multiple of L·M)."""

    family: Literal["igc"] = "igc"
    primary_groups: PositiveInt
    secondary_groups: PositiveInt
    mid_channels: PositiveInt

    @property
    def kind(self) -> int:
        """All partitions, L·M."""
        return self.primary_groups * self.secondary_groups

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """Per position C_mid·C_in·S/L + C_out·C_mid/M; for the strict unit G²·(S/L + 1/M)."""
        ahead, behind = (1, shape.area) if shape.transposed else (shape.area, 1)
        return conv_cost(
            shape.in_channels,
            self.mid_channels,
            ahead,
            groups=self.primary_groups,
            positions=positions,
        ) + conv_cost(
            self.mid_channels,
            shape.out_channels,
            behind,
            groups=self.secondary_groups,
            bias=shape.bias,
            positions=positions,
        )

    def misfit(self, shape: ConvShape) -> str | None:
        """L must divide C_in, M C_out, both be multiples of the convolution's groups, and L·M divide C_mid."""
        groups, partitions = self.primary_groups, self.secondary_groups
        if shape.in_channels % groups:
            return f"L={groups} does not divide the {shape.in_channels} input channels"
        if shape.out_channels % partitions:
            return f"M={partitions} does not divide the {shape.out_channels} output channels"
        if groups % shape.groups or partitions % shape.groups:
            return f"L={groups} and M={partitions} are no multiples of the convolution's {shape.groups} groups"
        if self.mid_channels % (groups * partitions // shape.groups):
            whole = "L·M" if shape.groups == 1 else "L·M/groups"
            return (
                f"the mid width {self.mid_channels} is no multiple of {whole} = {groups * partitions // shape.groups}"
            )
        return None

    def build(self, shape: ConvShape) -> IGC:
        """A freshly initialised unit."""
        from convsurgeon.families.igc.unit import IGC

        return IGC(shape, self)

    def within(self, groups: int) -> IGCSpec:
        """L, M and the mid width of one of the convolution's groups."""
        return IGCSpec(
            primary_groups=self.primary_groups // groups,
            secondary_groups=self.secondary_groups // groups,
            mid_channels=self.mid_channels // groups,
        )

    def describe(self) -> str:
        """E.g. ``IGC L4M1 w96``."""
        return f"IGC L{self.primary_groups}M{self.secondary_groups} w{self.mid_channels}"


@dataclass(frozen=True)
class IGCMethod(PlainMethod):
    """``igc`` (everything free), ``igc-bN`` or ``igc-lLmM[-wN]`` (fixed; C_mid = C_out unless ``-wN``).

    ``block`` N: the mid width of every partition is a multiple of N, such as the channels that fill a vector register
    (16 in float32 on AVX-512): grouped kernels may be twice as slow on other widths.
    """

    primary_groups: int | None = None
    secondary_groups: int | None = None
    mid_channels: int | None = None
    block: int | None = None
    family: ClassVar[str] = "igc"

    @property
    def name(self) -> str:
        """The word on the command line."""
        if self.primary_groups is None:
            return "igc" if self.block is None else f"igc-b{self.block}"
        width = f"-w{self.mid_channels}" if self.mid_channels else ""
        return f"igc-l{self.primary_groups}m{self.secondary_groups}{width}"

    @property
    def has_choice(self) -> bool:
        """L, M and the mid width are free without numbers in the name."""
        return self.primary_groups is None

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[IGCSpec, ...] | Refusal:
        """The named unit, or units of few partitions over a range of mid widths."""
        if self.primary_groups is None or self.secondary_groups is None:
            return _free_specs(shape, self.block)
        spec = IGCSpec(
            primary_groups=self.primary_groups,
            secondary_groups=self.secondary_groups,
            mid_channels=self.mid_channels or shape.out_channels,
        )
        reason = spec.misfit(shape)
        return (spec,) if reason is None else Refusal(reason)


def _free_specs(shape: ConvShape, block: int | None) -> tuple[IGCSpec, ...] | Refusal:
    """Few, wide partitions: the ones that keep accuracy and pay in time (M = 1 in each group)."""
    specs = [
        IGCSpec(primary_groups=groups, secondary_groups=shape.groups, mid_channels=width)
        for groups in _partition_counts(shape)
        for width in _mid_widths(shape, groups, block)
    ]
    reads, writes = shape.in_channels // shape.groups, shape.out_channels // shape.groups
    blocks = "" if block is None else f" in blocks of {block}"
    return tuple(specs) or Refusal(f"{reads}→{writes} channels are too few for any mid width{blocks} that saves MACs")


def _partition_counts(shape: ConvShape) -> list[int]:
    """L = 1, 4, 8 and C_in/8 in each group, as far as they divide C_in and leave a partition two channels or more."""
    if shape.area == 1 or shape.transposed:
        return [shape.groups]
    channels = shape.in_channels // shape.groups
    wanted = {1, 4, 8, channels // 8}
    return sorted(shape.groups * g for g in wanted if g and channels % g == 0 and channels // g >= 2)


def _mid_widths(shape: ConvShape, groups: int, block: int | None) -> list[int]:
    """Mid widths in steps that divide by L and by 8 (L·N in blocks), over the shares of the dense cost worth trying."""
    step = math.lcm(groups, WIDTH_STEP) if block is None else groups * block
    dense = shape.in_channels // shape.groups * shape.out_channels * shape.area
    spec = IGCSpec(primary_groups=groups, secondary_groups=shape.groups, mid_channels=step)
    per_width = spec.cost(shape, 1).macs // step
    widths = {round(share * dense / per_width / step) * step for share in COST_SHARES}
    return sorted(width for width in widths if 0 < width * per_width < dense)


def _parse(text: str) -> IGCMethod | None:
    """Read ``igc``, ``igc-bN`` or ``igc-lLmM[-wN]``; None if the text is none of them."""
    if free := re.fullmatch(r"igc(?:-b([1-9]\d*))?", text):
        return IGCMethod(block=int(free[1]) if free[1] else None)
    match = re.fullmatch(r"igc-l([1-9]\d*)m([1-9]\d*)(?:-w([1-9]\d*))?", text)
    if match is None:
        return None
    return IGCMethod(int(match[1]), int(match[2]), int(match[3]) if match[3] else None)


FAMILY = Family(
    card=CARD,
    spec=IGCSpec,
    words=("igc", "igc-bN", "igc-lLmM[-wN]"),
    examples=("igc", "igc-b16", "igc-l4m2"),
    parse=_parse,
    free=IGCMethod(),
    proxy_weight=1.0,
)
