"""Ranges between two convolutions become equal, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.quantising.equalise import equalised


def _pair(groups: int = 1) -> nn.Sequential:
    """Two convolutions in a row with very unequal channels between them, one of which is silent."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 6, 3, padding=1, groups=groups)).eval()
    with torch.no_grad():
        net[0].weight *= torch.logspace(-2, 2, 8).view(-1, 1, 1, 1)
        net[0].weight[3] = 0
        net[0].bias[3] = 0
    return net


@pytest.mark.parametrize("groups", [1, 2])
def test_outputs_stay_and_ranges_are_equal(groups: int) -> None:
    """A chain computes the same, its channels in between have one range, and the caller's network is untouched."""
    net, x = _pair(groups), torch.randn(16, 4, 5, 5)
    before = net(x)
    even = equalised(net, [as_inputs(x)])
    torch.testing.assert_close(even(x), before, rtol=1e-4, atol=1e-3)
    ranges = even[0](x).abs().amax((0, 2, 3))
    loud = ranges[ranges > 0]
    assert len(loud) == 7
    torch.testing.assert_close(loud, loud.mean().expand(7), rtol=1e-3, atol=0)
    assert torch.equal(net(x), before)


def test_what_is_used_elsewhere_stays() -> None:
    """A convolution that another place calls too is not rescaled; the same one alone is."""
    x = torch.randn(4, 4, 5, 5)
    shared = _pair()
    net = nn.ModuleList([shared, nn.Sequential(shared[1])])
    net.forward = lambda x: net[0](x)  # type: ignore[method-assign]
    assert torch.equal(equalised(net, [as_inputs(x)])[0][0].weight, shared[0].weight)
    assert not torch.equal(equalised(shared, [as_inputs(x)])[0].weight, shared[0].weight)
