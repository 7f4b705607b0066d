"""Convolutions whose parameters a forward reads by itself stay, and are named with the reason."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import convert, inspect

REASON = "the model's forward reads its weight directly, which a replacement would not have"
X = torch.zeros(1, 3, 8, 8)


class _Reading(nn.Module):
    """Reads a dtype off one weight and a norm off another; ``opaque`` leaves it without a trace."""

    def __init__(self, *, opaque: bool = False, reading: bool = True) -> None:
        super().__init__()
        self.opaque, self.reading = opaque, reading
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.cast, self.scaled, self.plain = (nn.Conv2d(32, 32, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        if self.reading:
            x = x.to(self.cast.weight.dtype) * self.scaled.bias.norm()
        if self.opaque and float(x.sum()) > 1e30:
            return x
        return self.plain(self.scaled(self.cast(self.stem(x))))


@pytest.mark.parametrize("opaque", [False, True])
def test_a_weight_that_the_forward_reads_keeps_its_convolution(opaque: bool) -> None:
    """What computes with a weight would fail on a replacement; reading its dtype would not, and is no obstacle."""
    sites = {site.name: site.obstacle for site in inspect(_Reading(opaque=opaque), X).sites}
    assert sites == {"stem": None, "cast": None, "scaled": REASON, "plain": None}
    done = convert(_Reading(opaque=opaque), X, method="igc-l4m2")
    assert [row.name for row in done.plan.replaced] == ["cast", "plain"]
    free = {site.name: site.obstacle for site in inspect(_Reading(opaque=opaque, reading=False), X).sites}
    assert set(free.values()) == {None}


class _Own(nn.Conv2d):
    """Reads its own weight in its own call, twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.to(x.dtype), self.bias)


def test_a_convolution_may_read_its_own_weight() -> None:
    """What happens within a convolution's own call is no obstacle, and attribute look-up is as before afterwards."""
    plain = nn.Module.__getattr__
    network = nn.Sequential(nn.Conv2d(3, 32, 3), _Own(32, 32, 3))
    assert [site.obstacle for site in inspect(network, X).sites] == [None, None]
    assert nn.Module.__getattr__ is plain
