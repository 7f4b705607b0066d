"""Small residual networks of several kinds of branches, and plans that drop and narrow some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import SqueezeExcitation

from convsurgeon import inspect
from convsurgeon.planning.channel_ranges import write_channels
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_blocks import RESTORED_BY, PlanBlock
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.planning.recipe import merged
from convsurgeon.planning.widths import Widths
from convsurgeon.surgery.drop import branch_parameters, carried_in
from convsurgeon.surgery.narrow import carried_parameters

__all__ = ["IMAGE", "KINDS", "Residual", "edited", "planned", "posed"]

IMAGE = (2, 3, 6, 6)


class Basic(nn.Module):
    """As ResNet's: one activation object, in place, between the layers and behind the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(width, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.two, self.last = nn.Conv2d(4, width, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """x and its branch."""
        return self.relu(x + self.last(self.two(self.relu(self.norm(self.one(x))))))

    def left(self, x: Tensor) -> Tensor:
        """What stays of the branch without its layers."""
        return x.relu()


class PreActivated(nn.Module):
    """As ResNetV2's: norms and activations ahead of convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.one = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.middle, self.last = nn.BatchNorm2d(width), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x and its branch."""
        return x + self.last(F.silu(self.middle(self.one(F.relu(self.norm(x), inplace=True)))))

    def left(self, x: Tensor) -> Tensor:
        """What stays of the branch without its layers."""
        return F.silu(x.relu())


class Whole(nn.Module):
    """As MobileNetV3's: the branch is one module, a squeeze and excitation inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(width, 8, 1), nn.BatchNorm2d(8), nn.Hardswish(inplace=True), SqueezeExcitation(8, 2),
            nn.Conv2d(8, width, 1), nn.Dropout(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x and its branch."""
        return x + self.f(x)

    def left(self, x: Tensor) -> Tensor:
        """What stays of the branch without its layers."""
        return x


class Excited(nn.Module):
    """As SE-ResNet's: a squeeze and excitation behind the last layer, of linear layers; group norms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.last = nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(2, width)
        self.gate = Gate(width)

    def forward(self, x: Tensor) -> Tensor:
        """x and its branch."""
        return self.gate(self.last(self.one(x))) + x

    def left(self, x: Tensor) -> Tensor:
        """What stays of the branch without its layers."""
        return x


class Gate(nn.Module):
    """Channels scaled by what they are on average."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] of the same shape."""
        scale = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * scale[:, :, None, None]


KINDS = (Basic, PreActivated, Whole, Excited)


class Residual(nn.Module):
    """A stem, branches of these kinds on its stream, a linear head: [N, 3, H, W] → [N, 5]."""

    def __init__(self, kinds: Sequence[int], width: int = 8) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.branches = nn.ModuleList(KINDS[kind](width) for kind in kinds)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        x = self.norm(self.stem(x))
        for branch in self.branches:
            x = branch(x)
        return self.head(x.mean((2, 3)))


def posed(net: nn.Module, target: str, damage: Mapping[str, float]) -> Problem:
    """Every open stream may keep half of its channels, every branch may go; ``damage`` by a stream's name, or by a
    branch's and what stands in for it, 0.1 without."""
    dtype = next(net.parameters()).dtype
    survey = inspect(net, torch.zeros(IMAGE, dtype=dtype))
    problem = pose(survey, merged(None, target=target, moves="narrow,streams,drop"))
    open_ones = [stream for stream in survey.streams if stream.closed is None]
    widths = [
        Widths(
            (stream,),
            ((tuple(range(stream.channels)),), (tuple(range(stream.channels // 2)),)),
            (0.0, damage.get(stream.name, 0.1)),
            (carried_parameters(net, stream),),
        )
        for stream in open_ones
    ]
    priced = {*(site.name for site in survey.sites), *(linear.name for linear in survey.linears)}
    rows = [
        PlanBlock(
            block=block,
            action="kept",
            reason="",
            others=branch_parameters(net, block, priced),
            carried=carried_in(net, block, survey.streams),
            restored_by=kind,
        )
        .as_dropped(True)
        .model_copy(update={"damage": damage.get(f"{block.name} {kind}", 0.1)})
        for block in survey.blocks
        for kind in RESTORED_BY
    ]
    closed = [stream for stream in survey.streams if stream.closed is not None]
    return problem.narrowing(widths, closed).dropping(rows)


def planned(net: nn.Module) -> Plan:
    """A plan that changes nothing, to edit."""
    return make_plan(posed(net, "macs=100%", {}))


def edited(plan: Plan, dropped: Mapping[str, str], kept: Mapping[str, Sequence[int]]) -> Plan:
    """The plan without these branches, by what stands in for each, and with these channels of streams."""
    content = json.loads(plan.to_json())
    for row in content["blocks"]:
        row["restored_by"] = dropped.get(row["block"]["name"], row["restored_by"])
        row["action"] = "dropped" if row["block"]["name"] in dropped else "kept"
    for row in content["streams"]:
        if row["stream"]["name"] in kept:
            row["kept"] = write_channels(kept[row["stream"]["name"]])
    return read_plan(json.dumps(content))
