"""Narrowed layers are plain, smaller ones; the caller's model stays as it is, and mistakes are said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.surgery.narrow import narrow
from tests.survey.narrowing import streams_of


def _net() -> nn.Sequential:
    """Every kind of layer in a row."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


KEPT = {"0": [1, 2, 5], "4": [0, 3]}


def _narrowed(net: nn.Sequential) -> nn.Module:
    streams = streams_of(net)
    return narrow(net, {streams[name]: kept for name, kept in KEPT.items()})


def test_layers_say_their_new_widths() -> None:
    """In every attribute that torch has for it, and in the shapes of all weights."""
    shown = [str(layer) for layer in _narrowed(_net())]
    assert shown == [
        "Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)",
        str(nn.BatchNorm2d(3)),
        "PReLU(num_parameters=3)",
        "Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=3)",
        "ConvTranspose2d(3, 2, kernel_size=(2, 2), stride=(2, 2))",
        "AdaptiveAvgPool2d(output_size=2)",
        "Flatten(start_dim=1, end_dim=-1)",
        "Linear(in_features=8, out_features=4, bias=True)",
    ]


def test_what_stays_is_bit_equal() -> None:
    """The kept channels' weights, norms and statistics; a linear layer keeps all entries of a kept channel."""
    net = _net()
    small = _narrowed(net)
    zero, four = torch.tensor(KEPT["0"]), torch.tensor(KEPT["4"])
    assert torch.equal(small[0].weight, net[0].weight[zero])
    assert torch.equal(small[1].running_var, net[1].running_var[zero])
    assert torch.equal(small[4].weight, net[4].weight[zero][:, four])
    assert torch.equal(small[7].weight, net[7].weight.view(4, 6, 4)[:, four].reshape(4, 8))


def test_the_callers_model_is_untouched_and_shares_nothing() -> None:
    """Neither weights nor hooks of the narrowed one are the original's."""
    net = _net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    small = _narrowed(net)
    with torch.no_grad():
        for tensor in small.state_dict().values():
            tensor.fill_(7)
    small[0].register_forward_hook(lambda *_: None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net[0]._forward_hooks


def test_flags_and_storage_follow_the_layer() -> None:
    """dtype, training, requires_grad and the channels-last order."""
    net = _net().to(memory_format=torch.channels_last).to(torch.bfloat16).requires_grad_(False)
    net[1].eval()
    small = _narrowed(net)
    assert small[3].weight.dtype == torch.bfloat16
    assert (small[0].training, small[1].training) == (True, False)
    assert not any(parameter.requires_grad for parameter in small.parameters())
    assert small[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.requires_grad for parameter in _narrowed(_net()).parameters())


_PAIR = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1))
_STREAM = streams_of(_PAIR)["0"]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)).flatmap(lambda order: st.integers(1, 8).map(lambda width: order[:width])))
def test_the_order_of_channels_is_the_originals(kept: list[int]) -> None:
    """However they are given."""
    small = narrow(_PAIR, {_STREAM: kept})
    assert torch.equal(small[0].weight, _PAIR[0].weight[sorted(kept)])


def test_nothing_cut_is_the_same_network() -> None:
    """Also where all channels are kept."""
    net = _net().eval()
    x = torch.randn(1, 3, 8, 8)
    for kept in ({}, {streams_of(net)["0"]: range(8)}):
        assert torch.equal(narrow(net, kept)(x), net(x))


@pytest.mark.parametrize("kept", [[], [8], [-1], [0, 0]])
def test_channels_that_are_none_are_refused(kept: list[int]) -> None:
    """None at all, one too many, one below, one twice."""
    net = _net()
    with pytest.raises(UsageError, match="expected some of 0 to 7, each once"):
        narrow(net, {streams_of(net)["0"]: kept})


def test_a_closed_stream_is_refused_with_its_reason() -> None:
    """The logits' stream."""
    net = _net()
    with pytest.raises(UsageError, match="'7' can't be narrowed: the network gives it back"):
        narrow(net, {streams_of(net)["7"]: [0]})


def test_streams_of_another_model_are_refused() -> None:
    """A name that is not there, another kind of layer, and layers that are narrower."""
    net = _net()
    stream = streams_of(net)["0"]
    for other in (nn.Sequential(nn.Conv2d(3, 8, 1)), nn.Sequential(nn.ReLU(), *_net()[1:]), _narrowed(net)):
        with pytest.raises(UnknownName, match="this model"):
            narrow(other, {stream: [0]})
    assert narrow(net, {replace(stream): [0]})[0].out_channels == 1
