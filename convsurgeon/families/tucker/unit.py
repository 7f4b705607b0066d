"""The Tucker unit; see the family's spec for the paper."""

from __future__ import annotations

from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.torch_convs import conv_like, pointwise
from convsurgeon.families.tucker.spec import TuckerSpec
from convsurgeon.families.unit import CompactConv

__all__ = ["UNIT", "Tucker"]


class Tucker(CompactConv):
    """Tucker unit: [N, C_in, H, W] → [N, C_out, H', W'], shaped as the convolution it replaces."""

    spec: TuckerSpec

    def __init__(self, shape: ConvShape, spec: TuckerSpec) -> None:
        super().__init__(shape, spec)
        flat = pointwise(shape)
        self.reduce = conv_like(flat, shape.in_channels, spec.in_rank)
        self.core = conv_like(shape, spec.in_rank, spec.out_rank)
        self.expand = conv_like(flat, spec.out_rank, shape.out_channels, bias=shape.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        return self.expand(self.core(self.reduce(x)))


UNIT = Tucker
