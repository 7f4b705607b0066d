"""The Spatial unit; see the family's spec for the paper."""

from __future__ import annotations

from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.spatial.spec import SpatialSpec
from convsurgeon.families.torch_convs import along_axis
from convsurgeon.families.unit import CompactConv

__all__ = ["UNIT", "Spatial"]


class Spatial(CompactConv):
    """Spatial unit: [N, C_in, H, W] → [N, C_out, H', W'], shaped as the convolution it replaces."""

    spec: SpatialSpec

    def __init__(self, shape: ConvShape, spec: SpatialSpec) -> None:
        super().__init__(shape, spec)
        self.first = along_axis(shape, spec.axis, shape.in_channels, spec.mid_channels)
        self.second = along_axis(shape, 1 - spec.axis, spec.mid_channels, shape.out_channels, bias=shape.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        return self.second(self.first(x))


UNIT = Spatial
