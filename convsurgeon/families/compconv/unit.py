"""The CompConv unit; see the family's spec for the paper and the choices where it is silent."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from convsurgeon.families.channel_order import reordered
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.forms.pieces import subsampled
from convsurgeon.families.torch_convs import conv_like, with_ends
from convsurgeon.families.unit import CompactConv

__all__ = ["UNIT", "CompConv", "at_centres", "shuffle_order"]


class CompConv(CompactConv):
    """CompConv unit: [N, C_in, H, W] → [N, C_out, H', W'], shaped as the convolution it replaces.

    ``identity_index`` [p·(2^{d−1}−1)] names the copied input channels (deepest slice last in the output);
    ``output_order`` [C_out] names, for each output channel, its place in A_0 ⊕ B_0 ⊕ A_1 ⊕ B_1 ⊕ …; it starts
    as a channel shuffle over two groups, and the weight transfer sets it to the best assignment.
    """

    spec: CompConvSpec
    identity_index: Tensor
    output_order: Tensor

    def __init__(self, shape: ConvShape, spec: CompConvSpec) -> None:
        super().__init__(shape, spec)
        self.primary = conv_like(shape, shape.in_channels, spec.primary_channels, bias=shape.bias)
        self.levels = nn.ModuleList(
            conv_like(shape, width, width, bias=shape.bias, strided=False) for width in spec.level_channels()
        )
        self.tail_channels = spec.tail_channels(shape.out_channels)
        self.tail = (
            conv_like(
                shape,
                self.tail_channels,
                self.tail_channels,
                groups=self.tail_channels,
                bias=shape.bias,
                kernel=spec.tail_kernel,
                strided=False,
            )
            if self.tail_channels
            else None
        )
        self.register_buffer("identity_index", torch.arange(spec.identity_channels))
        self.register_buffer("output_order", shuffle_order(shape.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        return reordered(self.slots(x), self.output_order)

    def slots(self, x: Tensor) -> Tensor:
        """The output before the shuffle: A_0 ⊕ B_0 ⊕ A_1 ⊕ B_1 ⊕ … ⊕ A_{d−1} ⊕ B_{d−1}."""
        return self.assemble(self.primary(x), list(self.identity_slices(x)))

    def assemble(self, b: Tensor, copies: list[Tensor]) -> Tensor:
        """The slots from B_{d−1} and the copies A_{d−1}, …, A_1."""
        deeper: list[Tensor] = []
        for level, a in zip(self.levels, copies, strict=True):
            both = torch.cat((a, b), dim=1)
            deeper.insert(0, both)
            b = level(both)
        if self.tail is None:
            return torch.cat((b, *deeper), dim=1)
        return torch.cat((self.tail(b[:, : self.tail_channels]), b, *deeper), dim=1)

    def identity_slices(self, x: Tensor) -> Iterator[Tensor]:
        """A_{d−1}, …, A_1: copies of input channels on the output's grid."""
        if not self.levels:
            return
        copies = at_centres(reordered(x, self.identity_index), self.shape)
        start = 0
        for width in self.spec.level_channels():
            yield copies[:, start : start + width // 2]
            start += width // 2


def at_centres(x: Tensor, shape: ConvShape) -> Tensor:
    """Read each output position's receptive-field centre off the input; zeros where it lies outside."""
    reach = [d * (k - 1) for d, k in zip(shape.dilation, shape.kernel, strict=True)]
    pads = zip(shape.pads(x.shape[2:]), reach, strict=True)
    ends = [(before - r // 2, after - (r - r // 2)) for (before, after), r in pads]
    return subsampled(with_ends(x, ends), shape.stride)


def shuffle_order(channels: int, groups: int = 2) -> Tensor:
    """Channel shuffle over ``groups`` as an index [channels]; a last incomplete row is simply shorter."""
    rows = -(-channels // groups)
    order = torch.arange(rows * groups).view(groups, rows).t().reshape(-1)
    return order[order < channels]


UNIT = CompConv
