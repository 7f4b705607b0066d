"""Residual branches that keep their shape are found; others are none, or closed with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import SqueezeExcitation

from convsurgeon import inspect
from convsurgeon.models.loading import build_model
from convsurgeon.survey.streams import Block
from tests.nets import conv_bn
from tests.survey.narrowing import Between, blocks_of


def _blocks(name: str) -> tuple[Block, ...]:
    return inspect(build_model(name, device="meta"), torch.zeros(1, 3, 64, 64, device="meta")).blocks


def test_known_networks_have_their_identity_blocks() -> None:
    """ResNet-18 has five blocks without a projection, MobileNetV2 ten."""
    found = {block.name: block for block in _blocks("resnet18")}
    assert list(found) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    first = found["layer1.0"]
    assert first.modules == tuple(f"layer1.0.{name}" for name in ("conv1", "bn1", "conv2", "bn2"))
    assert (first.last, first.stream, first.closed) == ("layer1.0.bn2", "conv1", None)
    assert len(_blocks("mobilenet_v2")) == 10


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_behind_a_silent_last_layer_the_rest_of_a_branch_does_not_count(name: str) -> None:
    """Where all last layers give zeros, the other layers' weights make no difference; without that they do."""
    net = build_model(name, device="meta").to_empty(device="cpu").eval()
    image = torch.ones(1, 3, 32, 32)
    blocks = inspect(net, image).blocks
    assert blocks
    assert all(block.closed is None for block in blocks)
    for tensor in net.state_dict().values():
        tensor.fill_(0.01)
    with torch.no_grad():
        loud = net(image)
        _fill(net, [block.last for block in blocks], 0)
        silent = net(image)
        _fill(net, [name for block in blocks for name in block.modules if name != block.last], 0.02)
        assert torch.equal(net(image), silent)
        assert not torch.allclose(loud, silent)


def _fill(net: nn.Module, names: list[str], value: float) -> None:
    for name in names:
        for tensor in net.get_submodule(name).parameters():
            tensor.data.fill_(value)


def _around(branch: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> Between:
    return Between(lambda net, x, t: branch(net, x), **layers)


CONV = nn.Conv2d(8, 8, 1)


@pytest.mark.parametrize(
    ("branch", "found"),
    [
        (lambda net, x: x + net.conv(x), True),
        (lambda net, x: net.conv(x) + x, True),
        (lambda net, x: x - net.conv(x), True),
        (lambda net, x: net.conv(x) - x, False),
        (lambda net, x: x * net.conv(x), False),
        (lambda net, x: x + 0.5 * net.conv(x).relu(), True),
        (lambda net, x: x + net.conv(x).sigmoid(), False),
        (lambda net, x: F.adaptive_avg_pool2d(x, 1) + net.conv(F.interpolate(F.adaptive_avg_pool2d(x, 1), 8)), False),
        (lambda net, x: x + x.relu(), False),
        (lambda net, x: x + torch.sigmoid(x) * net.conv(x), True),
    ],
)
def test_what_a_block_is(branch: Callable[[Any, Tensor], Tensor], found: bool) -> None:
    """x plus or minus a branch with a convolution, of the shape of x, that is zero behind a silent last layer."""
    blocks = blocks_of(_around(branch, conv=CONV))
    assert set(blocks) == ({"conv"} if found else set())
    assert all(block.closed is None for block in blocks.values())


@pytest.mark.parametrize(
    ("branch", "closed"),
    [
        (lambda net, x: x + net.conv(net.mid(x).relu()), None),
        (lambda net, x: x + net.conv(0.5 * net.mid(x)), None),
        (lambda net, x: x + net.conv(F.avg_pool2d(net.mid(x), 1)), "avg_pool2d runs between its layers"),
        (lambda net, x: x + net.conv(torch.matmul(net.mid(x), x)), "what matmul costs is not counted layer by layer"),
        (lambda net, x: x + torch.sigmoid(net.mid(x)) * net.conv(x), "'mid' runs beside its last layer, not before it"),
        (lambda net, x: x + net.conv(net.mid(x).permute(0, 1, 3, 2)), "permute runs between its layers"),
    ],
)
def test_what_stays_between_the_layers_is_activations(
    branch: Callable[[Any, Tensor], Tensor], closed: str | None
) -> None:
    """A branch whose forward does more than that without its layers is closed, and says what it does."""
    (block,) = blocks_of(_around(branch, conv=CONV, mid=nn.Conv2d(8, 8, 1))).values()
    assert block.closed == closed


def test_parts_are_the_largest_modules_of_a_branch() -> None:
    """A branch that is one module goes as a whole, its squeeze and excitation with it; one of several goes layer by
    layer, and what stays between them is known; identities are no parts."""
    assert {block.parts for block in _blocks("mobilenet_v3_small")} > {("features.3.block",), ("features.5.block",)}
    first = _blocks("resnet18")[0]
    assert (first.parts, first.activates) == (first.modules, True)
    assert (first.channels, first.positions) == (64, 256)
    inner = _around(
        lambda net, x: x + net.gate(net.two(net.none(net.one(x)))), one=conv_bn(8, 8), none=nn.Identity(), two=CONV,
        gate=SqueezeExcitation(8, 2),
    )  # fmt: skip
    (block,) = blocks_of(inner).values()
    assert (block.parts, block.activates) == (("one", "two", "gate"), False)


def test_of_nested_branches_the_inner_one_is_open() -> None:
    """One that holds another stays, since less is lost without the inner one."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x)

    outer = nn.Sequential(nn.Conv2d(8, 4, 1), Inner(), nn.Conv2d(4, 8, 1))
    closed = {
        block.name: block.closed for block in blocks_of(_around(lambda net, x: x + net.outer(x), outer=outer)).values()
    }
    assert closed == {"outer": "it holds 'outer.1.conv', which can be left out", "outer.1.conv": None}


def test_a_branch_that_others_read_is_closed() -> None:
    """Read inside only it is open, however long it is."""
    inner = {"one": conv_bn(8, 8), "two": nn.Conv2d(8, 8, 1)}
    alone = blocks_of(_around(lambda net, x: x + net.two(net.one(x)), **inner))
    assert alone["one.0"].closed is None

    def leaking(net: Any, x: Tensor) -> Tensor:
        middle = net.one(x)
        return (x + net.two(middle)) * middle

    leaks = blocks_of(_around(leaking, **inner))
    assert "is read outside of the branch" in str(leaks["one.0"].closed)


def test_a_branch_that_reads_more_is_closed() -> None:
    """A second value that it reads would go with it."""
    blocks = blocks_of(Between(lambda net, x, t: x + net.conv(x + t.relu()), conv=nn.Conv2d(8, 8, 1)))
    assert "reads more than the branch" in str(blocks["conv"].closed)


def test_a_frozen_branch_is_closed() -> None:
    """One that is trained is open."""
    net = _around(lambda net, x: x + net.conv(x), conv=nn.Conv2d(8, 8, 1))
    assert blocks_of(net)["conv"].closed is None
    net.conv.requires_grad_(False)
    assert "frozen" in str(blocks_of(net)["conv"].closed)


def test_two_branches_of_one_module_have_two_names() -> None:
    """A block with two additions holds two branches."""

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Sequential(*(nn.Conv2d(8, 8, 1) for _ in range(2))), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.left[1](self.left[0](x))
            return x + self.right(x)

    assert list(blocks_of(_around(lambda net, x: net.twice(x), twice=Double()))) == ["twice.left", "twice.right"]
