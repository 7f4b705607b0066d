"""What an error at a layer does to the network's outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.at_outputs import AtOutputs, instead_of


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()  # fmt: skip


def _at_outputs(net: nn.Module) -> AtOutputs:
    with torch.no_grad():
        return AtOutputs(net, [as_inputs(torch.randn(16, 3, 12, 12) + torch.randn(16, 3, 1, 1))])


@torch.no_grad()
def test_weights_are_exchanged_for_a_while() -> None:
    """Other weights and a shift change the outputs by what they change; the network is itself again afterwards."""
    net = _net()
    at, x = _at_outputs(net), torch.randn(2, 3, 12, 12)
    before, last = net(x), net[5]
    with instead_of(net, {"5": (2 * last.weight.detach(), torch.ones(4))}):
        torch.testing.assert_close(net(x), 2 * (before - last.bias) + last.bias + 1)
    assert torch.equal(net(x), before)
    assert at.with_weights({"5": (last.weight.detach(), torch.zeros(4))}) == pytest.approx(0.0, abs=1e-12)
    assert at.with_weights({"5": (0 * last.weight.detach(), torch.zeros(4))}) > 0.1
