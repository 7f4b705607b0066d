"""The streams of known networks, as a whole and by parts; narrowed ones compute what deaf readers do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet

import convsurgeon
from convsurgeon.models.loading import build_model
from tests.nets import Opaque, Residual64, Untraceable
from tests.survey.narrowing import sound, streams_of


@pytest.mark.parametrize(
    ("name", "size", "closed"),
    [
        ("resnet18", 32, {"fc"}),
        ("mobilenet_v3_small", 32, {"classifier.3"}),
        ("efficientnet_b0", 32, {"classifier.1"}),
        ("googlenet", 32, {"fc"}),
        ("squeezenet1_1", 32, {"classifier.1"}),
    ],
)
def test_every_stream_but_the_logits_is_open(name: str, size: int, closed: set[str]) -> None:
    """Residual stages, squeeze-and-excitation, dense and inception concatenations: a third of all channels goes."""
    found = sound(build_model(name, device="meta").to_empty(device="cpu"), (1, 3, size, size))
    assert {stream.name for stream in found.values() if stream.closed is not None} == closed


def test_dense_concatenations_grow() -> None:
    """A DenseNet's layers read all that came before, behind norms over all of it."""
    net = DenseNet(growth_rate=8, block_config=(2, 3), num_init_features=16, bn_size=2, num_classes=4)
    found = sound(net, (1, 3, 32, 32))
    assert [name for name, stream in found.items() if stream.closed] == ["classifier"]
    last = found["features.denseblock2.denselayer2.conv2"].readers
    assert [(reader.name, reader.offset) for reader in last] == [
        ("features.denseblock2.denselayer3.conv1", 24),
        ("classifier", 24),
    ]


def test_vggs_flattened_map_is_read_by_its_classifier() -> None:
    """Without the large classifier of the original."""
    net = build_model("vgg11_bn", device="meta").features.to_empty(device="cpu")
    found = sound(nn.Sequential(net, nn.Flatten(), nn.Linear(512 * 4, 8), nn.ReLU(), nn.Linear(8, 4)), (1, 3, 64, 64))
    assert [name for name, stream in found.items() if stream.closed] == ["4"]
    assert found["0.25"].readers[0].span == 4


def test_a_residual_stage_is_one_stream() -> None:
    """All its writers and readers; in ResNet-18 a stage has two writers or three."""
    found = streams_of(build_model("resnet18", device="meta"), torch.zeros(1, 3, 32, 32, device="meta"))
    assert len(found) == 13
    stage = found["layer2.0.conv2"]
    assert [one.name for one in stage.producers] == ["layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"]
    assert [one.name for one in stage.readers] == ["layer2.1.conv1", "layer3.0.conv1", "layer3.0.downsample.0"]


def test_parts_are_read_where_the_whole_is_not() -> None:
    """What enters and leaves a part is closed; what stays inside is not."""
    found = sound(Untraceable())
    assert list(found) == ["block.conv1", "block.conv2"]
    assert found["block.conv1"].closed is None
    assert "it leaves 'block'" in str(found["block.conv2"].closed)


class _ByHand(nn.Module):
    """A sequence whose layers are called one by one, or as a whole, in a forward that no trace survives."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        if float(x.sum()) > 1e30:
            return x
        if self.whole:
            return self.layers(x)
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_part_that_is_called_piece_by_piece_is_not_read() -> None:
    """Nobody knows what the forward does with the values between; called as a whole its layers have streams."""
    assert streams_of(_ByHand(True))["layers.0"].closed is None
    assert not streams_of(_ByHand(False))


@pytest.mark.parametrize("whole", [True, False])
def test_a_norm_is_behind_a_convolution_where_the_sequence_runs_as_a_whole(whole: bool) -> None:
    """A forward that takes a sequence for a list may do anything between its layers."""
    net = _ByHand(whole)
    net.layers[1] = nn.BatchNorm2d(8)
    found = {site.name: site.norm for site in convsurgeon.inspect(net, torch.rand(2, 3, 4, 4)).sites}
    assert found["layers.0"] == ("layers.1" if whole else None)


class _PastCall(nn.Module):
    """A block with a shortcut that is called, or whose forward or layers are, in a forward that no trace survives."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.block = Residual64()
        self.body = nn.Sequential(self.block)

    def forward(self, x: Tensor) -> Tensor:
        if float(x.sum()) > 1e30:
            return x
        if self.how == "layers":
            return self.block.conv1(x)
        return {"call": self.body, "forward": self.body.forward, "block": self.block.forward}[self.how](x)


@pytest.mark.parametrize(
    ("how", "known", "closed"),
    [("call", True, False), ("forward", True, False), ("block", True, True), ("layers", True, True)],
)
def test_a_forward_that_runs_past_its_call_is_read(how: str, known: bool, closed: bool) -> None:
    """Its shortcut is known. How often it runs is not, so that no stream of it is open."""
    net = _PastCall(how)
    found = convsurgeon.inspect(net, torch.rand(2, 64, 8, 8))
    assert any(site.shortcut for site in found.sites) == known
    assert all(stream.closed is not None for stream in found.streams) == closed


class _Often(nn.Module):
    """A head on two maps, as detectors have it; ``besides``: its first layer is called once more."""

    def __init__(self, besides: bool) -> None:
        super().__init__()
        self.besides = besides
        self.head = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = self.head(x) + self.head(x * 2) if float(x.sum()) < 1e30 else x
        return found.sum() + self.head[0](x).sum() if self.besides else found


def test_a_head_that_is_called_often_is_open_inside() -> None:
    """All of its layers are called as often as itself."""
    assert streams_of(_Often(False))["head.0"].closed is None
    assert "called from several places" in str(streams_of(_Often(True))["head.0"].closed)


class _Auxiliary(nn.Module):
    """A head that only training calls."""

    def __init__(self, head: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.head = nn.Conv2d(8, 4, 1) if head else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.training and self.head is not None:
            return self.last(x) + self.head(x)
        return self.last(x)


def test_what_training_reads_elsewhere_is_closed() -> None:
    """A narrowed stream would break the auxiliary head; without the head it is open, and the mode stays."""
    net = _Auxiliary(True).train()
    assert "in training mode 'head'" in str(streams_of(net)["first"].closed)
    assert net.training
    assert net.head is not None
    assert net.head.training
    assert streams_of(_Auxiliary(False))["first"].closed is None


def test_a_forward_that_no_part_of_traces_has_no_streams() -> None:
    """Nothing is claimed where nothing can be read."""
    assert streams_of(nn.Sequential(Residual64(), nn.Conv2d(64, 4, 1)), torch.zeros(1, 64, 8, 8))
    assert streams_of(Opaque()) == {}
