"""Units that are added onto shortcuts in place: where nobody can see it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsurgeon import CompConvSpec, lower
from convsurgeon.deployment.lowering import network
from convsurgeon.deployment.lowering.choice import Timed
from convsurgeon.families.forms.pieces import Onto, Twins
from convsurgeon.families.torch_convs import conv_shape


class Block(nn.Module):
    """Two convolutions, and a unit behind the second; ``joined`` says what becomes of them all."""

    def __init__(self, joined: Callable[[Block, Tensor], Tensor], kernel: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        conv = nn.Conv2d(16, 16, kernel, padding=kernel // 2)
        self.unit = CompConvSpec.of(conv_shape(conv), 1).build(conv_shape(conv))
        self.other = CompConvSpec.of(conv_shape(conv), 1).build(conv_shape(conv))
        self.relu, self.pool = nn.ReLU(inplace=True), nn.AvgPool2d((7, 6))
        self.prior = nn.Parameter(torch.randn(1, 16, 7, 6))
        self.joined = joined

    def forward(self, x: Tensor) -> Tensor:
        """[N, 16, H, W] → [N, 16, H, W]."""
        return self.joined(self, x)


def _behind(net: Block, s: Tensor) -> Tensor:
    return net.unit(F.relu(net.second(s)))


def _plain(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return _behind(net, s) + s


def _swapped(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return s + _behind(net, s)


def _inplace(net: Block, x: Tensor) -> Tensor:
    s = torch.relu_(net.first(x))
    y = _behind(net, s)
    y += s
    return F.relu(y)


def _method(net: Block, x: Tensor) -> Tensor:
    s = F.relu(net.first(x), inplace=True)
    return s.add_(_behind(net, s))


def _modules(net: Block, x: Tensor) -> Tensor:
    s = net.relu(net.first(x))
    y = net.unit(net.relu(net.second(s)))
    y += s
    return net.relu(y)


def _two_units(net: Block, x: Tensor) -> Tensor:
    s = net.other(net.first(x))
    return _behind(net, x) + s


def _twice(net: Block, x: Tensor) -> Tensor:
    s = _plain(net, x)
    return net.other(F.relu(net.second(s))) + s


def _read_afterwards(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return (_behind(net, s) + s) * s


def _convolved_afterwards(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    total = _behind(net, x) + s
    return total * net.other(s)


def _seen_afterwards(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    view = s[:, :1]
    return (_behind(net, s) + s) * view


def _below_an_activation(net: Block, x: Tensor) -> Tensor:
    t = net.first(x)
    s = torch.relu_(t)
    return (_behind(net, s) + s) * t


def _below_a_function(net: Block, x: Tensor) -> Tensor:
    t = net.first(x)
    s = F.relu(t, True)
    return (_behind(net, s) + s) * t


def _beside_a_function(net: Block, x: Tensor) -> Tensor:
    t = net.first(x)
    s = F.relu(t)
    return (_behind(net, s) + s) * t


def _input(net: Block, x: Tensor) -> Tensor:
    return _behind(net, x) + x


def _view_of_the_input(net: Block, x: Tensor) -> Tensor:
    s = x[:, :16]
    return _behind(net, s) + s


def _own_input(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return net.unit(s) + s


def _output_read_again(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    y = _behind(net, s)
    return (y + s) * y


def _source_read_again(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    z = net.second(s)
    return (net.unit(z) + s) * z


def _source_overwritten_meanwhile(net: Block, x: Tensor) -> Tensor:
    s, z = net.first(x), net.second(x)
    y = net.unit(z[:, :16])
    active = torch.relu_(z)
    return (y + s) * active


def _spread(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return _behind(net, s) + net.pool(s)


def _scaled(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return torch.add(_behind(net, s), s, alpha=2)


def _called_again(net: Block, x: Tensor) -> Tensor:
    s = net.first(x)
    return net.unit(F.relu(_behind(net, s) + s))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("joined", "joins"),
    [
        *((join, 1) for join in (_plain, _swapped, _inplace, _method, _modules, _two_units)),
        (_beside_a_function, 1),
        (_twice, 2),
        *((join, 0) for join in (_read_afterwards, _seen_afterwards, _below_an_activation, _below_a_function)),
        *((join, 0) for join in (_convolved_afterwards, _input, _view_of_the_input, _own_input)),
        *((join, 0) for join in (_output_read_again, _source_read_again, _source_overwritten_meanwhile)),
        *((join, 0) for join in (_spread, _scaled, _called_again)),
    ],
)
@pytest.mark.parametrize("kernel", [1, 3])
def test_units_are_added_in_place_where_nobody_can_see_it(
    joined: Callable[[Block, Tensor], Tensor],
    joins: int,
    layout: torch.memory_format,
    kernel: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every form and layout outputs are equal, in a second call too, and the inputs stay as they were."""
    monkeypatch.setattr(network, "_layouts", lambda inputs, timing: [layout])
    net = Block(joined, kernel).eval()
    for choice in range(3):
        monkeypatch.setattr(Timed, "_fastest", lambda self, absorbed, forms, *_, at=choice: forms[at % len(forms)].name)
        x = torch.randn(2, 16, 7, 6)
        with torch.no_grad():
            wanted, before = net(x), x.clone()
            done = lower(net, x)
            torch.testing.assert_close(done.model(x), wanted, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(done.model(x), wanted, rtol=1e-4, atol=1e-4)
        assert torch.equal(x, before)
        assert sum(step.pass_name == "add onto shortcuts" for step in done.steps) == joins
        # A pass that fails would be made up for unit by unit.
        assert not any(step.pass_name == "trace" for step in done.steps)


def test_other_runtimes_lay_out_tensors_themselves() -> None:
    """Without timing in eager mode nothing is written over a shortcut; in eager mode it is."""
    net, x = Block(_plain).eval(), torch.randn(2, 16, 7, 6)
    for runtime, joins in ((None, 0), ("eager", 1)):
        steps = lower(net, x, runtime=runtime).steps
        assert sum(step.pass_name == "add onto shortcuts" for step in steps) == joins


def _of_a_prior(net: Block, x: Tensor) -> Tensor:
    return _behind(net, x) + net.first(net.prior)


@pytest.mark.parametrize("form", range(3))
@pytest.mark.parametrize("batch", [1, 3])
def test_a_shortcut_that_is_spread_over_the_batch_is_not_overwritten(
    form: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lowered on one image, where shapes agree, the network takes more; a batch of one is added in place."""
    monkeypatch.setattr(Timed, "_fastest", lambda self, absorbed, forms, *_: forms[form % len(forms)].name)
    net = Block(_of_a_prior).eval()
    done = lower(net, torch.randn(1, 16, 7, 6))
    x = torch.randn(batch, 16, 7, 6)
    with torch.no_grad():
        torch.testing.assert_close(done.model(x), net(x), rtol=1e-4, atol=1e-4)
    assert sum(step.pass_name == "add onto shortcuts" for step in done.steps) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("part", [nn.Conv2d(8, 16, 1), Twins(torch.ones(2, 8), torch.zeros(2, 8), torch.ones(1), 2)])
def test_a_sum_is_promoted_as_before(part: nn.Module, dtype: torch.dtype) -> None:
    """A shortcut of another number format is not written over; one of the same is."""
    x, shortcut = torch.randn(2, 8, 3, 3), torch.randn(2, 16, 3, 3, dtype=dtype)
    with torch.no_grad():
        wanted, found = shortcut + part(x), Onto(part)(shortcut, x)
    torch.testing.assert_close(found, wanted)
    assert (found is shortcut) is (dtype == torch.float32)


def test_an_activation_behind_a_sum_works_in_place_too() -> None:
    """The sum is nobody else's, wherever it was written."""
    steps = lower(Block(lambda net, x: F.relu(_plain(net, x))).eval(), torch.randn(2, 16, 7, 6)).steps
    assert sum(step.pass_name == "activate in place" for step in steps) == 2
