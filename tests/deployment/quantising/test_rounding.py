"""The imitation of int8: steps of the range, only where and while it is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.quantising.rounding import RoundedNetwork, layers_of, rounded_weight

LAYERS = {
    "conv": lambda: nn.Conv2d(4, 6, 3),
    "groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "linear": lambda: nn.Linear(4, 6),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3),
}


@given(st.sampled_from(sorted(LAYERS)), st.integers(0, 99))
def test_weights_move_by_half_a_step_at_most(kind: str, seed: int) -> None:
    """No weight moves by more than half of 1/127 of its channel's largest, and each tensor has at most 255 values."""
    torch.manual_seed(seed)
    layer = LAYERS[kind]()
    moved = (rounded_weight(layer) - layer.weight).abs()
    largest = layer.weight.abs().amax() if kind == "transposed" else layer.weight.abs().flatten(1).amax(1)
    assert bool((moved.flatten(1).amax(1) <= largest / 254 * 1.001).all())
    assert len((rounded_weight(layer)[0] / rounded_weight(layer)[0].abs().max() * 127).round().unique()) <= 255


def test_only_the_named_layers_are_rounded_and_only_inside() -> None:
    """Inside of the block the named layer computes otherwise and the others do not; outside nothing is left of it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    x = torch.randn(2, 3, 6, 6)
    exact, state = net(x), {name: value.clone() for name, value in net.state_dict().items()}
    rounding = RoundedNetwork(net, [as_inputs(x)])
    assert list(rounding.layers) == ["0", "2"]
    with torch.no_grad(), rounding.rounding(["2"]) as inside:
        assert torch.equal(inside[1](inside[0](x)), net[1](net[0](x)))
        assert not torch.equal(inside(x), exact)
        torch.testing.assert_close(inside(x), exact, atol=0.05, rtol=0)
    assert torch.equal(rounding.network(x), exact)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())


def test_layers_called_by_keyword_are_seen() -> None:
    """A layer whose input is given by name has a range, and is rounded, like one that is called as usual."""

    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """[N, 4] → [N, 3]."""
            return self.head(input=x)

    net, x = ByName().eval(), torch.randn(5, 4)
    with torch.no_grad(), RoundedNetwork(net, [as_inputs(x)]).rounding(["head"]) as rounded:
        torch.testing.assert_close(rounded(x), net(x), atol=0.05, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_has_no_range_is_named(bad: float) -> None:
    """A layer that is given numbers that are not finite is refused by its name; large ones have a range."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)).eval()
    x = as_inputs(torch.randn(2, 1, 3, 3))
    with torch.no_grad():
        net[0].weight[0] = bad
        with pytest.raises(ModelRunError, match=r"^layer '1' is given .* not finite"):
            RoundedNetwork(net, [x])
        net[0].weight[0] = 1e30
        RoundedNetwork(net, [x])


@pytest.mark.parametrize(("module", "counts"), [(nn.Conv2d(1, 1, 1), True), (nn.BatchNorm2d(1), False)])
def test_layers_are_convolutions_and_linear_ones(module: nn.Module, counts: bool) -> None:
    """What runs in int8 is what multiplies by weights."""
    assert bool(layers_of(nn.Sequential(module))) is counts
