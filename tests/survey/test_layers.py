"""Modules write, carry or read streams; what mixes channels without weights that could be cut closes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsurgeon.survey.streams import Carrier, Reader
from tests.survey.narrowing import Between, sound, streams_of


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.BatchNorm2d(8), "norm"),
        (nn.InstanceNorm2d(8, affine=True, track_running_stats=True), "norm"),
        (nn.PReLU(8), "prelu"),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), "depthwise"),
        (nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), "depthwise"),
        (nn.PReLU(), None),
        (nn.ReLU6(), None),
        (nn.Dropout2d(), None),
        (nn.Identity(), None),
        (nn.MaxPool2d(2), None),
        (nn.AdaptiveAvgPool2d(2), None),
        (nn.Upsample(scale_factor=2), None),
        (nn.ReflectionPad2d(1), None),
    ],
)
def test_what_has_parameters_for_each_channel_carries(layer: nn.Module, kind: str | None) -> None:
    """It is cut with the stream; layers without parameters for channels need no cut."""
    stream = sound(Between(lambda net, x, t: net.layer(x), layer=layer))["a"]
    assert stream.closed is None
    assert stream.carriers == (() if kind is None else (Carrier("layer", kind, 0),))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.GroupNorm(2, 8), "normalises several channels"),
        (nn.LocalResponseNorm(3), "normalises several channels"),
        (nn.Conv2d(8, 8, 1, groups=2), "in 2 groups"),
        (nn.Conv2d(8, 8, 1, groups=4), "in 4 groups"),
        (nn.Softmax2d(), "is not known"),
        (nn.ChannelShuffle(2), "is not known"),
    ],
)
def test_what_mixes_channels_closes(layer: nn.Module, words: str) -> None:
    """Group norms, convolutions in groups, shuffles."""
    assert words in str(streams_of(Between(lambda net, x, t: net.layer(x), layer=layer))["a"].closed)


def test_a_norm_behind_a_concatenation_carries_two_streams() -> None:
    """Each at its offset, as in a DenseNet."""
    found = sound(Between(lambda net, x, t: net.norm(torch.cat([x, t], 1)), reads=16, norm=nn.BatchNorm2d(16)))
    assert (found["a"].carriers, found["t"].carriers) == ((Carrier("norm", "norm", 0),), (Carrier("norm", "norm", 8),))
    assert found["t"].readers == (Reader("b", 8, 1),)


def test_a_transposed_convolution_writes_and_reads() -> None:
    """Its weight has the axes the other way round."""
    found = sound(Between(lambda net, x, t: net.up(x), up=nn.ConvTranspose2d(8, 8, 2, stride=2)))
    assert found["a"].readers == (Reader("up", 0, 1),)
    assert found["up"].closed is None


class _Classifier(nn.Module):
    """A convolution, and a classifier of two linear layers behind its flattened map."""

    def __init__(self, flat: nn.Module, entries: int) -> None:
        super().__init__()
        self.conv, self.flat = nn.Conv2d(3, 8, 3, padding=1), flat
        self.head = nn.Sequential(nn.Linear(entries, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.flat(self.conv(image)))


@pytest.mark.parametrize(
    ("flat", "span"),
    [
        (nn.Flatten(), 64),
        (nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()), 2),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 1),
    ],
)
def test_a_linear_layer_reads_all_entries_of_a_channel(flat: nn.Module, span: int) -> None:
    """Behind a flattened map each channel has height × width of them."""
    found = sound(_Classifier(flat, 8 * span))
    assert found["conv"].readers == (Reader("head.0", 0, span),)
    assert found["head.0"].carriers == (Carrier("head.1", "norm", 0),)
    assert found["head.0"].closed is None


class _OnWidth(nn.Module):
    """A linear layer on the last axis of a map; ``turned``: that is the channels'."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.conv, self.linear, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image)
        return self.again(self.linear(x.permute(0, 2, 3, 1) if self.turned else x).relu())


def test_a_linear_layer_reads_the_last_axis() -> None:
    """With the channels last it is a reader; on the width of a map it is none."""
    assert sound(_OnWidth(True))["conv"].closed is None
    found = sound(_OnWidth(False))
    assert "another axis" in str(found["conv"].closed)
    assert found["linear"].closed is None


def test_one_convolution_may_read_and_write_a_stream() -> None:
    """x + conv(x) is cut on both sides."""
    stream = sound(Between(lambda net, x, t: x + net.conv(x), conv=nn.Conv2d(8, 8, 1)))["a"]
    assert [producer.name for producer in stream.producers] == ["a", "conv"]
    assert [reader.name for reader in stream.readers] == ["conv", "b"]


def test_one_and_three_axes_are_followed_as_two_are() -> None:
    """Convolutions, norms and pooling over sequences and volumes."""
    line = nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.MaxPool1d(2), nn.Conv1d(8, 6, 1), nn.Conv1d(6, 2, 1))
    assert [name for name, stream in sound(line, (2, 3, 16)).items() if stream.closed] == ["4"]
    room = nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.Upsample(scale_factor=2), nn.Conv3d(8, 2, 1))
    assert [name for name, stream in sound(room, (2, 3, 5, 5, 5)).items() if stream.closed] == ["3"]


class _Unbatched(nn.Module):
    """It reads one image of the batch, or all."""

    def __init__(self, image: int | None) -> None:
        super().__init__()
        self.image = image
        self.conv, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x if self.image is None else x[self.image]))


def test_without_a_batch_axis_nothing_is_open() -> None:
    """With one it is."""
    assert streams_of(_Unbatched(None))["conv"].closed is None
    assert "without a batch axis" in str(streams_of(_Unbatched(0))["conv"].closed)
