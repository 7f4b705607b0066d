"""Functions and methods that leave channels apart keep a stream open; those that mix or count them close it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.survey.narrowing import Between, sound, streams_of

Operation = Callable[[Any, Tensor, Tensor], Tensor]

# An operation that can be followed, one that differs in one thing, and the reason why that can't be.
TWINS: dict[str, tuple[Operation, Operation, str]] = {
    "slice": (lambda net, x, t: x[:, :, 1:], lambda net, x, t: x[:, 0:8], "picked or split off"),
    "pad": (lambda net, x, t: F.pad(x, (1, 0)), lambda net, x, t: F.pad(x, (0, 0, 0, 0, 1, -1)), "channels are padded"),
    "activation": (lambda net, x, t: torch.sigmoid(x), lambda net, x, t: F.softmax(x, 1), "normalises several"),
    "number": (lambda net, x, t: x * x.shape[2], lambda net, x, t: x * x.shape[1], "computes with its number"),
    "own tensor": (lambda net, x, t: x * net.number, lambda net, x, t: x * net.each, "the tensor 'each'"),
    "pool": (lambda net, x, t: F.max_pool2d(x, 2), lambda net, x, t: F.max_pool1d(x[0], 2)[None], "picked"),
    "mean": (
        lambda net, x, t: x + x.mean(2, keepdim=True),
        lambda net, x, t: x + x.mean(1, keepdim=True),
        "reduced over its channels",
    ),
    "view": (
        lambda net, x, t: x.view(x.size(0), x.size(1), x.size(2), -1),
        lambda net, x, t: x.view(x.size(0), 8, x.size(2), -1),
        "fixed number of channels",
    ),
    "move": (
        lambda net, x, t: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
        lambda net, x, t: x.permute(0, 2, 1, 3).reshape(-1, 8, 8, 8),
        "reshaped",
    ),
    "parts": (lambda net, x, t: x + t, lambda net, x, t: torch.cat(x.chunk(2, 1), 1), "split into several parts"),
    "known": (lambda net, x, t: x.abs(), lambda net, x, t: x.cumsum(1), "cumsum reads it"),
    "check": (
        lambda net, x, t: (torch._assert(x.ndim == 4, "map"), x)[1],
        lambda net, x, t: (torch._assert(x.shape[1] == 8, "width"), x)[1],
        "computes with its number",
    ),
    "batch": (lambda net, x, t: x[:], lambda net, x, t: x.sum(0, keepdim=True), "over the batch"),
    "joined": (
        lambda net, x, t: torch.cat([x, t], dim=2),
        lambda net, x, t: torch.cat([x, t], dim=0),
        "over the batch",
    ),
    "turned": (
        lambda net, x, t: x.transpose(2, 3),
        lambda net, x, t: x.transpose(0, 2).transpose(2, 0),
        "batch axis is moved",
    ),
    "input": (lambda net, x, t: x * t, lambda net, x, t: x * torch.ones(8, 8), "a tensor that the forward makes"),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_what_leaves_channels_apart_keeps_a_stream_open(twins: tuple[Operation, Operation, str]) -> None:
    """The same network is narrowed with the one, and has a closed stream with the other."""
    followed, lost, words = twins
    assert sound(Between(followed))["a"].closed is None
    closed = streams_of(Between(lost))["a"].closed
    assert closed is not None
    assert words in closed


@pytest.mark.parametrize(
    "operation",
    [
        lambda net, x, t: x.relu_() + 1,
        lambda net, x, t: F.interpolate(F.silu(x), size=x.shape[-2:], mode="bilinear"),
        lambda net, x, t: F.adaptive_avg_pool2d(x, 1).flatten(1)[:, :, None, None] * x,
        lambda net, x, t: x * F.avg_pool2d(x, 8).view(x.shape[0], x.shape[1], 1, 1).expand_as(x),
        lambda net, x, t: torch.cat([x, t], dim=2),
        lambda net, x, t: x.transpose(1, 3).contiguous().transpose(3, 1).clamp(0, 1),
        lambda net, x, t: F.dropout(x, 0.5, net.training).to(torch.float64) / (t.abs() + 1),
        lambda net, x, t: torch.maximum(x, t).mean((2, 3)).unsqueeze(-1).unsqueeze(-1),
        lambda net, x, t: x - 2 * t.amax((2, 3), keepdim=True).squeeze(3).squeeze(2)[:, :, None, None],
    ],
)
def test_chains_of_such_operations_are_followed(operation: Operation) -> None:
    """However a forward spells it."""
    assert sound(Between(operation))["a"].closed is None


def test_what_is_added_or_multiplied_is_cut_alike() -> None:
    """An addition, a gate and a concatenation over positions tie both sides into one stream."""
    for operation in (torch.add, torch.mul, lambda x, t: torch.cat([x, t], 3)):
        found = streams_of(Between(lambda net, x, t, joined=operation: joined(x, t)))
        assert [producer.name for producer in found["a"].producers] == ["a", "t"]
        assert "t" not in found


def test_a_concatenation_shifts_its_later_streams() -> None:
    """Both streams are cut by themselves; one that stands there twice is read at both places."""
    found = sound(Between(lambda net, x, t: torch.cat([x, t, torch.cat([x, x], 1)], 1), reads=32))
    places = {name: [reader.offset for reader in found[name].readers] for name in "at"}
    assert places == {"a": [0, 16, 24], "t": [8]}


def test_parts_of_a_concatenation_are_tied_one_by_one() -> None:
    """Two concatenations of the same widths are added part by part; of other widths they are closed."""
    both = sound(Between(lambda net, x, t: torch.cat([x, t], 1) + torch.cat([t, t], 1), reads=16))
    assert both["a"].closed is None
    other = streams_of(Between(lambda net, x, t: torch.cat([x, t], 1) + x.repeat(1, 2, 1, 1), reads=16))
    assert all(stream.closed for stream in other.values())


def test_a_gate_on_the_input_does_not_make_its_map_one_position() -> None:
    """What an operation gives is as large as its largest operand, also where that belongs to no stream."""

    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.conv = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 8, 1)
            self.head = torch.nn.Linear(11 * 64, 4)

        def forward(self, image: Tensor) -> Tensor:
            gated = image * self.gate(image.mean((2, 3), keepdim=True))
            return self.head(torch.cat([gated, self.conv(image)], 1).flatten(1))

    found = sound(Gated())
    assert (found["conv"].closed, found["conv"].readers[0].span) == (None, 64)


def test_a_map_of_one_channel_stays() -> None:
    """Spatial attention's one channel acts on all: the stream it acts on can be narrowed."""
    net = Between(lambda net, x, t: x * torch.sigmoid(net.one_map(t)), one_map=torch.nn.Conv2d(8, 1, 1))
    found = sound(net)
    assert (found["a"].closed, found["t"].closed) == (None, None)
    assert "one channel acts on all" in str(found["one_map"].closed)


def test_the_networks_input_and_output_are_no_streams() -> None:
    """What is added to the input can't be narrowed, nor what the network gives back."""
    net = Between(lambda net, x, t: x)
    assert str(streams_of(net)["b"].closed) == "the network gives it back"

    class Denoiser(torch.nn.Module):
        def __init__(self, added: bool) -> None:
            super().__init__()
            self.net, self.last, self.added = net, torch.nn.Conv2d(4, 3, 1), added

        def forward(self, image: Tensor) -> Tensor:
            noise = self.last(self.net(image))
            return image - noise if self.added else noise

    assert "the network's input" in str(streams_of(Denoiser(True))["last"].closed)
    assert streams_of(Denoiser(False))["net.b"].closed is None
