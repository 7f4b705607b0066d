"""How much larger a map is before a convolution than behind it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import prod

from convsurgeon.families.cost import ConvShape

__all__ = ["stretch"]


def stretch(
    shape: ConvShape, axes: Iterable[int], output_size: tuple[int, ...], input_size: tuple[int, ...] | None
) -> Fraction | None:
    """Input positions along some axes for each output position along them.

    1 where these axes keep their length, whatever it is; None where they don't and the maps are of several sizes.
    """
    changed = [axis for axis in axes if not shape.keeps_length(axis)]
    if not changed:
        return Fraction(1)
    if not input_size:
        return None
    return Fraction(prod(input_size[axis] for axis in changed), prod(output_size[axis] for axis in changed))
