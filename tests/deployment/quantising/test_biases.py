"""Biases take back what rounding does to the mean."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.quantising.biases import bias_shifts, shifted
from convsurgeon.deployment.quantising.losses import layer_losses
from convsurgeon.deployment.quantising.rounding import RoundedNetwork


def _net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 5))
    return net.eval(), torch.rand(64, 3, 6, 6)


def test_the_mean_output_of_a_rounded_layer_is_the_exact_one() -> None:
    """With its shift a layer's rounded output has the float output's mean in each channel; without, it has not."""
    net, x = _net()
    rounding = RoundedNetwork(net, [as_inputs(x)])
    shifts = bias_shifts(rounding, [as_inputs(x[:32]), as_inputs(x[32:])])
    assert [tuple(shift.shape) for shift in shifts.values()] == [(8,), (4,), (5,)]
    made = shifted(net, {"0": shifts["0"]})
    with torch.no_grad(), rounding.rounding(["0"]) as rounded:
        wanted, plain = net[0](x).mean((0, 2, 3)), rounded[0](x).mean((0, 2, 3))
        again = plain + made[0].bias
    torch.testing.assert_close(again, wanted, rtol=1e-4, atol=1e-6)
    assert float((plain - wanted).abs().max()) > 1e-5
    assert net[0].bias is None


def test_the_layer_with_the_widest_range_loses_most() -> None:
    """A layer that one weight takes all steps of is named first, and every layer is weighed once."""
    net, x = _net()
    with torch.no_grad():
        net[2].weight[:, 0] = 0
        net[2].weight[:, 0, 0, 0] = 300.0
        net[0].weight[0] = 1e-3
    losses = layer_losses(RoundedNetwork(net, [as_inputs(x)]), [as_inputs(x)], lambda *_: None)
    assert sorted(loss.name for loss in losses) == ["0", "2", "4"]
    assert [loss.output_error for loss in losses] == sorted((loss.output_error for loss in losses), reverse=True)
