"""Widths worth trying for a thin layer between others."""

from __future__ import annotations

from convsurgeon.families.cost import ConvShape

__all__ = ["thin_widths"]

# Channels in whole blocks fill vector registers; steps of 1/32 of the dense cost let the solver land close.
BLOCK = 8
STEPS = 32


def thin_widths(per_width: float, shape: ConvShape, most: float) -> list[int]:
    """Widths in blocks of 8, each costing ``per_width`` MACs per position, up to ``most`` of the dense convolution."""
    dense = shape.in_channels * shape.out_channels * shape.area
    shares = [step / STEPS for step in range(1, int(most * STEPS) + 1)]
    widths = {round(share * dense / per_width / BLOCK) * BLOCK for share in shares}
    return sorted(width for width in widths if 0 < width * per_width < dense)
