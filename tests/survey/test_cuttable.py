"""A layer that somebody has tied, frozen, altered or reads otherwise is not cut; one that nobody has is."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.surgery.operate import replacement
from tests.survey.narrowing import Between, streams_of


class _Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class _Padding(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 0, 1, 0)))


def _chain(**layers: nn.Module) -> Between:
    given = {"conv": nn.Conv2d(8, 8, 1), "norm": nn.BatchNorm2d(8), "act": nn.ReLU(), **layers}
    return Between(lambda net, x, t: net.act(net.norm(net.conv(x))), **given)


def _frozen(net: Between) -> None:
    net.norm.requires_grad_(False)


def _hooked(net: Between) -> None:
    net.act.register_forward_hook(lambda *_: None)


def _masked(net: Between) -> None:
    net.conv.weight.requires_grad_(False)  # A mask with gradient history can't be copied.
    prune.random_unstructured(net.conv, "weight", 0.5)


def _parametrised(net: Between) -> None:
    parametrizations.weight_norm(net.conv)


def _tied(net: Between) -> None:
    net.conv.weight = net.far.weight


def _own_forward(net: Between) -> None:
    net.act.forward = torch.relu


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_frozen, "'norm' can't be cut: it is frozen"),
        (_hooked, "'act' carries hooks"),
        (_masked, "pruned by a mask"),
        (_parametrised, "computed by a parametrization"),
        (_tied, "shared with another module"),
        (_own_forward, "a forward of its own"),
    ],
)
def test_a_changed_layer_closes_the_stream(change: Callable[[Between], None], words: str) -> None:
    """The same network without the change has an open stream."""
    net = _chain(far=nn.Conv2d(8, 8, 1))
    assert streams_of(net)["conv"].closed is None
    change(net)
    assert words in str(streams_of(net)["conv"].closed)


def test_a_network_that_is_frozen_as_a_whole_is_no_obstacle() -> None:
    """Frozen for inference, nothing in it is kept on purpose."""
    assert streams_of(_chain().requires_grad_(False))["conv"].closed is None


def test_a_subclass_that_pads_can_be_cut() -> None:
    """What a forward of its own does beside padding can't be known."""
    assert streams_of(_chain(conv=_Padding(8, 8, 2)))["conv"].closed is None
    assert "computes its own forward" in str(streams_of(_chain(conv=_Own(8, 8, 1)))["conv"].closed)


def test_a_converted_layer_closes_what_it_reads_and_what_is_added_to_it() -> None:
    """Its unit has channels of its own; the plain network's stream is open."""
    net = Between(lambda net, x, t: x + net.conv(x), conv=nn.Conv2d(8, 8, 3, padding=1))
    assert streams_of(net)["a"].closed is None
    net.conv = replacement(net.conv, CompConvSpec.of(conv_shape(net.conv), 1))
    assert "converted already" in str(streams_of(net)["a"].closed)


def test_a_forward_that_was_put_on_the_network_closes_all() -> None:
    """A graph shows the class's forward, which nobody runs then; on a block inside it is traced as it is."""
    inner = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
    net = Between(lambda net, x, t: net.inner(x), inner=inner)
    inner.forward = MethodType(lambda self, x: self[1](self[0](x)) + 1, inner)  # type: ignore[method-assign]
    assert streams_of(net)["a"].closed is None
    net.forward = MethodType(lambda self, x: self.inner(self.a(x)), net)  # type: ignore[method-assign]
    assert "a forward that was put on the object" in str(streams_of(net)["a"].closed)


class _Twice(nn.Module):
    """One convolution, called as often as asked."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.first, self.conv, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(self.times):
            x = self.conv(x)
        return self.last(x)


def test_a_module_that_is_called_twice_closes() -> None:
    """Called once it does not."""
    assert all(stream.closed is None for name, stream in streams_of(_Twice(1)).items() if name != "last")
    assert "called from several places" in str(streams_of(_Twice(2))["first"].closed)


class _Reading(nn.Module):
    """A forward that looks at a linear layer's or a norm's weight, or does not."""

    def __init__(self, reads: str | None) -> None:
        super().__init__()
        self.reads = reads
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.norm(self.conv(x)).mean((2, 3)))
        return x if self.reads is None else x * getattr(self, self.reads).weight.mean()


@pytest.mark.parametrize("reads", ["norm", "head", "conv"])
def test_a_weight_that_the_forward_reads_closes(reads: str) -> None:
    """Past the layer's own call."""
    assert streams_of(_Reading(None))["conv"].closed is None
    assert "reads its weight directly" in str(streams_of(_Reading(reads))["conv"].closed)
