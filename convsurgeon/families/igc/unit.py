"""The IGC unit; see the family's spec for the paper."""

from __future__ import annotations

import torch
from torch import Tensor

from convsurgeon.families.channel_order import reordered
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.torch_convs import conv_like, pointwise
from convsurgeon.families.unit import CompactConv

__all__ = ["IGC", "UNIT", "interleave_order"]


class IGC(CompactConv):
    """IGC unit: [N, C_in, H, W] → [N, C_out, H', W'], shaped as the convolution it replaces."""

    spec: IGCSpec
    interleave: Tensor | None
    interleave_back: Tensor | None

    def __init__(self, shape: ConvShape, spec: IGCSpec) -> None:
        super().__init__(shape, spec)
        groups, partitions = spec.primary_groups, spec.secondary_groups
        flat = pointwise(shape)
        ahead, behind = (flat, shape) if shape.transposed else (shape, flat)
        self.primary = conv_like(ahead, shape.in_channels, spec.mid_channels, groups=groups)
        self.secondary = conv_like(behind, spec.mid_channels, shape.out_channels, groups=partitions, bias=shape.bias)
        # With M = 1 both permutations are the identity, so none is stored and none is run.
        within = shape.groups
        self.register_buffer(
            "interleave",
            interleave_order(spec.mid_channels, groups // within, partitions // within, within)
            if partitions > within
            else None,
        )
        self.register_buffer(
            "interleave_back",
            interleave_order(shape.out_channels, partitions // within, shape.out_channels // partitions, within)
            if partitions > within
            else None,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        mid = self.primary(x)
        if self.interleave is None or self.interleave_back is None:
            return self.secondary(mid)
        return reordered(self.secondary(reordered(mid, self.interleave)), self.interleave_back)


def interleave_order(channels: int, rows: int, columns: int, within: int = 1) -> Tensor:
    """Index [channels] that reads ``[rows, columns, rest]`` as ``[columns, rows, rest]``, ``within`` each group."""
    return torch.arange(channels).view(within, rows, columns, -1).transpose(1, 2).reshape(-1)


UNIT = IGC
