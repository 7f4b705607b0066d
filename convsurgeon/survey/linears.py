"""Linear layers as plain data: they write and read streams of channels, but are never swapped."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.families.cost import ConvShape, Cost

__all__ = ["LinearLayer", "linear_shape"]


def linear_shape(in_features: int, out_features: int, *, bias: bool) -> ConvShape:
    """A linear layer as the 1×1 convolution that it is."""
    one = (1, 1)
    return ConvShape(
        in_channels=in_features,
        out_channels=out_features,
        kernel=one,
        stride=one,
        padding=(0, 0),
        dilation=one,
        bias=bias,
    )


@dataclass(frozen=True)
class LinearLayer:
    """One ``nn.Linear``, keyed by its first qualified name; ``positions`` are the rows that one forward gives it."""

    name: str
    in_features: int
    out_features: int
    bias: bool
    positions: int

    @property
    def shape(self) -> ConvShape:
        """As the 1×1 convolution that it is."""
        return linear_shape(self.in_features, self.out_features, bias=self.bias)

    @property
    def cost(self) -> Cost:
        """MACs over all positions, and parameters."""
        return self.shape.cost(self.positions)
