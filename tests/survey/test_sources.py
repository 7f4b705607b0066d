"""A convolution of another class is taken where it is padding and one convolution, and refused elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame, ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from convsurgeon import convert, inspect
from convsurgeon.base.errors import UnknownName
from convsurgeon.families.family import Refusal
from convsurgeon.survey.sources import Source, is_plain, plainly, source_of


class _Causal(nn.Conv1d):
    """Reads no sample of the future."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.dilation[0] * (self.kernel_size[0] - 1), 0)))


class _Mirrored(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 2, 0, 1), mode="reflect"))


class _Masked(nn.Conv2d):
    """Its weight goes through a mask, as in autoregressive networks."""

    def __init__(self, *args: int, **kwargs: int) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("mask", torch.ones_like(self.weight).tril())

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


_LOST = "which a replacement would lose"


class _Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class _InPlace(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


class _Mixing(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(1))


class _Twice(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(super().forward(x))


class _Conditional(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * x.mean(), self.bias)


class _Odd(nn.Conv2d):
    """Pads odd maps only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, x.shape[-1] % 2)))


class _Scaling(nn.Conv2d):
    """Runs a module with weights of its own."""

    def __init__(self, *args: int) -> None:
        super().__init__(*args)
        self.norm = nn.BatchNorm2d(self.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


class _Failing(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no.")


_LIKE_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "same, stride": lambda: Conv2dSame(8, 8, 3, stride=2),
    "same, dilation": lambda: Conv2dSame(8, 8, 3, dilation=2),
    "same, even kernel": lambda: Conv2dSame(8, 8, 4, stride=3, bias=False),
    "standardised": lambda: StdConv2d(8, 8, 3, stride=2),
    "standardised, same": lambda: StdConv2dSame(8, 8, 3, stride=2),
    "standardised, scaled": lambda: ScaledStdConv2d(8, 8, 3, groups=2),
    "standardised, scaled, same": lambda: ScaledStdConv2dSame(8, 8, 3, stride=2),
    "causal": lambda: _Causal(8, 8, 5, dilation=2),
    "mirrored": lambda: _Mirrored(8, 8, 3),
    "masked": lambda: _Masked(8, 8, 3, padding=1),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv1d(8, 8, 3, padding=1)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(8, 8, 3)).eval(),
    "weight norm, transposed": lambda: parametrizations.weight_norm(nn.ConvTranspose1d(8, 8, 4, stride=2)),
    "weight norm, reflecting": lambda: parametrizations.weight_norm(
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
    ),
}


@pytest.mark.parametrize("make", _LIKE_PLAIN.values(), ids=_LIKE_PLAIN)
def test_padding_and_a_convolution_is_a_plain_convolution(make: Callable[[], nn.Module]) -> None:
    """Whatever pads ahead or computes its weight equals the convolution that is read off it, on maps of any size."""
    module = make().eval()
    plain = plainly(module)
    assert not is_plain(module)
    assert is_plain(plain)
    for size in (11, 12, 13, 20):
        x = torch.randn(2, 8, *(size + i for i in range(len(module.kernel_size))))
        torch.testing.assert_close(plain(x), module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "padding"),
    [
        (Conv2dSame(8, 8, 3, stride=2), "dynamic"),
        (Conv2dSame(8, 8, 3), (1, 1)),
        (Conv2dSame(8, 8, 4), "same"),
        (Conv2dSame(8, 8, 1, stride=2), (0, 0)),
        (_Causal(8, 8, 5), ((4, 0),)),
        (_Mirrored(8, 8, 3), ((0, 1), (1, 2))),
        (StdConv2d(8, 8, 3), (1, 1)),
    ],
)
def test_paddings_are_named_as_simply_as_they_are(module: nn.Module, padding: object) -> None:
    """Fixed padding becomes numbers or pairs, and only what follows the input's size is called dynamic."""
    source = source_of(module)
    assert isinstance(source, Source)
    assert source.shape.padding == padding


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (_Doubled(8, 8, 3), "_Doubled computes more than a convolution"),
        (_InPlace(8, 8, 3), "_InPlace computes more than a convolution"),
        (_Mixing(8, 8, 3), "_Mixing does more than padding ahead"),
        (_Twice(8, 8, 3, padding=1), "_Twice calls 2 convolutions"),
        (_Conditional(8, 8, 3), "_Conditional computes a convolution that depends on its input"),
        (_Odd(8, 8, 3), "_Odd pads by a rule of its own"),
        (_Scaling(8, 8, 3), "_Scaling runs modules of its own that hold values"),
        (_Failing(8, 8, 3), "_Failing computes its own forward, which can't be read: no"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_more_than_a_convolution_is_refused(module: nn.Module, reason: str) -> None:
    """A forward that a padded convolution can't express keeps its reason, in the row of an inspection too."""
    found = source_of(module)
    assert isinstance(found, Refusal)
    assert found.reason.startswith(reason)
    with pytest.raises(UnknownName, match=reason):
        plainly(module)


def test_refusals_and_twins_stand_side_by_side_in_a_survey() -> None:
    """In one network the doubled convolution is refused with its reason, and the mirrored one is not."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), _Doubled(8, 8, 3), _Mirrored(8, 8, 3))
    obstacles = [site.obstacle for site in inspect(network, torch.rand(1, 3, 16, 16)).sites]
    assert obstacles == [None, "_Doubled computes more than a convolution in its own forward, " + _LOST, None]


@pytest.mark.parametrize("meta", [True, False])
def test_reading_leaves_no_trace(meta: bool) -> None:
    """The module, its mode, its gradients and torch's generator are as before; weights may be missing (meta)."""
    module = ScaledStdConv2dSame(8, 8, 3, stride=2).train()
    if meta:
        module = module.to("meta")
    before, generator = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    source = source_of(module, (9, 9))
    assert isinstance(source, Source)
    assert source.shape.padding == "dynamic"
    assert module.training
    assert torch.equal(generator, torch.get_rng_state())
    assert meta or all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@settings(max_examples=60)
@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 2]), st.integers(10, 30), st.booleans()
)
def test_dynamic_padding_holds_on_every_map(
    kernel: int, stride: int, dilation: int, groups: int, size: int, bias: bool
) -> None:
    """What is read off timm's Conv2dSame computes the same on maps that were never tried."""
    module = Conv2dSame(4, 6, kernel, stride=stride, dilation=dilation, groups=groups, bias=bias)
    x = torch.randn(1, 4, size, size + 3)
    torch.testing.assert_close(plainly(module)(x), module(x), rtol=1e-5, atol=1e-6)


class _Cached(nn.Conv1d):
    def forward(self, x: Tensor, cache: Tensor | None = None) -> Tensor:
        return super().forward(x if cache is None else torch.cat((cache, x), -1))


class _Streaming(nn.Module):
    def __init__(self, cached: bool) -> None:
        super().__init__()
        self.cached, self.conv = cached, _Cached(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, cache=x) if self.cached else self.conv(x)


@pytest.mark.parametrize("cached", [True, False])
def test_a_second_argument_is_an_obstacle(cached: bool) -> None:
    """A convolution that is called with more than a map stays; called with the map alone it is taken."""
    (site,) = inspect(_Streaming(cached), torch.rand(1, 8, 9)).sites
    assert site.obstacle == ("called with more than its input" if cached else None)


@pytest.mark.parametrize("method", ["igc", "dgconv", "compconv", "auto"])
def test_a_computed_weight_and_a_dynamic_padding_survive_a_conversion(method: str) -> None:
    """Planned, fitted, verified and saved like any convolution, on maps whose padding is uneven."""
    network = nn.Sequential(Conv2dSame(3, 16, 3, stride=2), ScaledStdConv2dSame(16, 32, 3, stride=2), nn.ReLU())
    x = torch.rand(2, 3, 22, 17)
    done = convert(network, x, method=method, target="macs=70%", calibration=[torch.rand(16, 3, 22, 17)])
    assert [row.name for row in done.plan.replaced] == ["1"]
    assert done.plan.replaced[0].shape.padding == "dynamic"
    assert done.model(x).shape == network(x).shape == (2, 32, 6, 5)
