"""Spatial: a k×1 convolution to R channels, then a 1×k one (or the other way round).

Jaderberg, Vedaldi, Zisserman: "Speeding up Convolutional Neural Networks with Low Rank Expansions", BMVC 2014,
arXiv 1405.3866. A kernel W[o, c, i, j] is written as Σ_r B[o, r, j]·A[r, c, i]: the first convolution reads along one
axis, the second along the other. Both are dense, whatever runs them needs nothing new.

Each convolution has the stride, padding and dilation of its own axis, and nothing stands between the two (a bias there
would meet the second one's padding); the output's bias is the second one's. So the first writes a map that is still
as long along the second axis as the input: ``stretch`` says how many positions it computes for each of the output's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from convsurgeon.families.cost import ConvShape, Cost, conv_cost
from convsurgeon.families.family import Card, Family, PlainMethod, Refusal, Spec
from convsurgeon.families.stretch import stretch

if TYPE_CHECKING:
    from convsurgeon.families.spatial.unit import Spatial

__all__ = ["FAMILY", "SpatialMethod", "SpatialSpec"]

CARD = Card(
    family="spatial",
    title="Spatial",
    paper="Jaderberg, Vedaldi, Zisserman, BMVC 2014, arXiv 1405.3866",
    methods="spatial (width and order free) | spatial-rN, e.g. spatial-r64, with N channels between the two",
    idea="A k×1 convolution to few channels, then a 1×k one: both dense, no groups, no permutation.",
    good_for="3×3 and larger kernels, without training and even without calibration data: what a trained kernel does "
    "along one axis hardly depends on the other",
    bad_for="1×1 and grouped convolutions, which have nothing to split",
    legend="r: channels between the two convolutions; k×1 or 1×k: the kernel of the first",
)

# Widths are tried at these shares of the dense MACs, in whole blocks; small steps let the solver land close.
COST_SHARES = tuple(step / 32 for step in range(1, 26))
BLOCK = 8
AXES = {"vertical": 0, "horizontal": 1}


class SpatialSpec(Spec):
    """R = ``mid_channels``; ``first`` is the axis that the first convolution reads along (vertical: k×1).

    ``stretch`` (a, b): the first convolution computes a/b positions for each of the output's. It follows from the size
    of the input map; (1, 1) where the second axis keeps its length.
    """

    family: Literal["spatial"] = "spatial"
    mid_channels: PositiveInt
    first: Literal["vertical", "horizontal"] = "vertical"
    stretch: tuple[PositiveInt, PositiveInt] = (1, 1)

    @property
    def axis(self) -> int:
        """The first convolution's axis: 0 for H, 1 for W."""
        return AXES[self.first]

    @property
    def kind(self) -> int:
        """The first axis."""
        return self.axis

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """Per output position R·(C_in·k·a/b + C_out·k')."""
        more, whole = self.stretch
        ahead, behind = shape.kernel[self.axis], shape.kernel[1 - self.axis]
        return conv_cost(shape.in_channels, self.mid_channels, ahead, positions=positions * more // whole) + conv_cost(
            self.mid_channels, shape.out_channels, behind, bias=shape.bias, positions=positions
        )

    def misfit(self, shape: ConvShape) -> str | None:
        """Ordinary convolutions with groups=1 over two axes, along both of which the kernel is longer than 1."""
        return unsuited(shape)

    def build(self, shape: ConvShape) -> Spatial:
        """A freshly initialised unit."""
        from convsurgeon.families.spatial.unit import Spatial

        return Spatial(shape, self)

    def describe(self) -> str:
        """E.g. ``Spatial r64 k×1 first``."""
        return f"Spatial r{self.mid_channels} {'k×1' if self.first == 'vertical' else '1×k'} first"


def unsuited(shape: ConvShape) -> str | None:
    """Why no pair of convolutions along one axis each can take the convolution's place; None if one can."""
    if shape.transposed:
        return "transposed convolution: Spatial splits ordinary ones"
    if shape.groups != 1:
        return f"grouped convolution (groups={shape.groups}): Spatial splits dense ones"
    if len(shape.kernel) != 2:
        return f"{len(shape.kernel)}-dimensional convolution: Spatial splits two-dimensional ones"
    if min(shape.kernel) == 1:
        return f"a kernel of {'×'.join(map(str, shape.kernel))} has nothing to split along two axes"
    return None


@dataclass(frozen=True)
class SpatialMethod(PlainMethod):
    """``spatial`` (width and order free) or ``spatial-rN``."""

    mid_channels: int | None = None
    family: ClassVar[str] = "spatial"

    @property
    def name(self) -> str:
        """The word on the command line."""
        return "spatial" if self.mid_channels is None else f"spatial-r{self.mid_channels}"

    @property
    def has_choice(self) -> bool:
        """The width is free without a number in the name."""
        return self.mid_channels is None

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[SpatialSpec, ...] | Refusal:
        """Both orders, over a range of widths; the named width in the cheaper order."""
        if reason := unsuited(shape):
            return Refusal(reason)
        stretches = {first: stretch(shape, (1 - axis,), output_size, input_size) for first, axis in AXES.items()}
        known = {first: longer for first, longer in stretches.items() if longer is not None}
        if not known:
            return Refusal("maps of several sizes: what the first convolution would cost on them is not known")
        if self.mid_channels is not None:
            specs = [_spec(self.mid_channels, first, longer) for first, longer in known.items()]
            return (min(specs, key=lambda spec: spec.cost(shape, math.prod(output_size)).macs),)
        found = tuple(
            _spec(width, first, longer)
            for first, longer in known.items()
            for width in _widths(_per_width(shape, AXES[first], longer), shape)
        )
        return found or Refusal(f"{shape.in_channels}→{shape.out_channels} channels are too few for any width between")


def _spec(width: int, first: str, longer: Fraction) -> SpatialSpec:
    return SpatialSpec.model_validate(
        {"mid_channels": width, "first": first, "stretch": (longer.numerator, longer.denominator)}
    )


def _per_width(shape: ConvShape, axis: int, longer: Fraction) -> float:
    """MACs per output position that one channel between the two costs."""
    return float(shape.in_channels * shape.kernel[axis] * longer + shape.out_channels * shape.kernel[1 - axis])


def _widths(per_width: float, shape: ConvShape) -> list[int]:
    """Widths in blocks of 8, each channel costing ``per_width`` MACs per position, over the shares worth trying."""
    dense = shape.in_channels * shape.out_channels * shape.area
    widths = {round(share * dense / per_width / BLOCK) * BLOCK for share in COST_SHARES}
    return sorted(width for width in widths if 0 < width * per_width < dense)


def _parse(text: str) -> SpatialMethod | None:
    """Read ``spatial`` or ``spatial-rN``; None if the text is neither."""
    match = re.fullmatch(r"spatial(?:-r([1-9]\d*))?", text)
    return None if match is None else SpatialMethod(int(match[1]) if match[1] else None)


FAMILY = Family(
    card=CARD,
    spec=SpatialSpec,
    words=("spatial", "spatial-rN"),
    examples=("spatial", "spatial-r64"),
    parse=_parse,
    free=SpatialMethod(),
    proxy_weight=0.5,
)
