"""A compact unit together with what was folded into it: channel orders on both sides, a scale and a shift."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from convsurgeon.families.channel_order import reordered
from convsurgeon.families.unit import CompactConv

__all__ = ["Absorbed", "in_order", "unit_of"]

UnitT = TypeVar("UnitT", bound=CompactConv)


class Absorbed(nn.Module):
    """y = (scale · unit(x[:, reads]) + shift)[:, writes], [N, C_in, H, W] → [N, C_out, H', W'].

    ``reads`` [C_in] names, for each input channel of the unit, where it arrives; ``writes`` [C_out] names, for each
    channel written, the unit's; ``scale`` and ``shift`` [C_out] are in the unit's own order. It is never changed:
    each fold returns a new one.
    """

    reads: Tensor
    writes: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, unit: CompactConv, reads: Tensor, writes: Tensor, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.unit = unit
        for name, value in (("reads", reads), ("writes", writes), ("scale", scale), ("shift", shift)):
            self.register_buffer(name, value)

    @classmethod
    def nothing(cls, unit: CompactConv) -> Absorbed:
        """The unit as it is."""
        like = next(unit.parameters())
        return cls(
            unit,
            torch.arange(unit.in_channels, device=like.device),
            torch.arange(unit.out_channels, device=like.device),
            torch.ones(unit.out_channels, dtype=torch.float64, device=like.device),
            torch.zeros(unit.out_channels, dtype=torch.float64, device=like.device),
        )

    def then(self, scale: Tensor, shift: Tensor) -> Absorbed:
        """Followed by y · scale + shift (both [C_out], in the order written)."""
        gain, offset = torch.empty_like(self.scale), torch.empty_like(self.shift)
        gain[self.writes], offset[self.writes] = scale.to(gain), shift.to(offset)
        return Absorbed(self.unit, self.reads, self.writes, self.scale * gain, self.shift * gain + offset)

    def writing(self, order: Tensor) -> Absorbed:
        """With channel j written where channel ``order[j]`` was."""
        return Absorbed(self.unit, self.reads, self.writes[order], self.scale, self.shift)

    def reading(self, order: Tensor) -> Absorbed:
        """For inputs whose channel j is what channel ``order[j]`` was."""
        return Absorbed(self.unit, order.argsort()[self.reads], self.writes, self.scale, self.shift)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        y = self.unit(x if in_order(self.reads) else reordered(x, self.reads))
        axes = (-1, *(1,) * (y.dim() - 2))
        y = y * self.scale.to(y.dtype).view(axes) + self.shift.to(y.dtype).view(axes)
        return y if in_order(self.writes) else reordered(y, self.writes)


def in_order(order: Tensor) -> bool:
    """Whether an order changes nothing."""
    return torch.equal(order, torch.arange(len(order), device=order.device))


def unit_of(absorbed: Absorbed, kind: type[UnitT]) -> UnitT:
    """The unit, which is one of this class.

    Raises:
        TypeError: it is another.
    """
    if not isinstance(absorbed.unit, kind):
        raise TypeError(f"{type(absorbed.unit).__name__} is no {kind.__name__} unit")
    return absorbed.unit
