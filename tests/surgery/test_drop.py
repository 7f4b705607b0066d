"""Dropped branches against the network whose branches give a 1×1 convolution of what stays between their layers."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_blocks import RESTORED_BY
from convsurgeon.surgery.drop import Copy
from convsurgeon.surgery.operate import operate
from convsurgeon.survey.counting import count
from tests.surgery.branches import IMAGE, KINDS, Residual, edited, planned
from tests.surgery.cutting import deafened, noisy, some_of


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=3), st.data())
def test_a_dropped_branch_is_a_1x1_convolution(kinds: list[int], data: st.DataObject) -> None:
    """Whatever else is narrowed: outputs are those of the original whose branch gives these, and costs are counted."""
    net = noisy(Residual(kinds))
    plan = planned(net)
    names = [row.block.name for row in plan.blocks]
    assert len(names) == len(kinds)
    dropped = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(RESTORED_BY)))
    streams = {row.stream for row in plan.streams if row.action != "closed"}
    kept = some_of(data.draw(st.sets(st.sampled_from(sorted(streams, key=repr)))) if streams else ())
    changed = edited(plan, dropped, {stream.name: channels for stream, channels in kept.items()})
    assert {row.block.name: row.restored_by for row in changed.dropped} == dropped
    network, x = operate(net, changed), torch.randn(IMAGE, dtype=torch.float64)
    oracle = deafened(net, kept)
    with torch.no_grad():
        _fill(network, oracle, changed)
        torch.testing.assert_close(network(x), oracle(x))
    cost = count(network, torch.zeros(IMAGE, dtype=torch.float64))
    assert (cost.macs, cost.params) == (changed.after.macs, changed.after.params)


def _fill(network: nn.Module, oracle: nn.Module, plan: Plan) -> None:
    """Weights and biases, in the network and in the oracle's branches; weights for channels that are gone are zero."""
    for row in plan.dropped:
        kept = next((one.channels for one in plan.streams if one.stream.name == row.block.stream), range(8))
        left, whole = list(kept), torch.zeros(8, 8, dtype=torch.float64)
        unit: Any = network.get_submodule(row.block.parts[-1])
        for parameter in unit.parameters():
            parameter.normal_()
        small = unit.weight.flatten(1)
        whole[torch.tensor(left)[:, None], left] = small if row.restored_by == "map" else small.flatten().diag()
        shift = torch.zeros(8, dtype=torch.float64)
        shift[left] = unit.bias
        number = int(row.block.name.split(".")[1])
        branch, seen = oracle.get_submodule(f"branches.{number}"), dict[str, Tensor]()
        branch.register_forward_pre_hook(partial(_remember, seen))
        last = oracle.get_submodule(row.block.parts[-1])
        last.register_forward_hook(partial(_instead, branch, seen, whole[:, :, None, None], shift))


def _remember(seen: dict[str, Tensor], _branch: nn.Module, args: tuple[Tensor]) -> None:
    seen["x"] = args[0].clone()


def _instead(branch: Any, seen: dict[str, Tensor], weight: Tensor, bias: Tensor, *_call: object) -> Tensor:
    return F.conv2d(branch.left(seen["x"]), weight, bias)


class Guarded(nn.Module):
    """A forward that no trace reads, around a part that traces."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass, of finite inputs."""
        if not bool(x.isfinite().all()):
            raise ValueError("inputs are not finite")
        return self.part(x)


def test_branches_of_parts_are_dropped() -> None:
    """Where the whole network does not trace, those of its parts go as they do alone."""
    net = Residual([0, 2]).eval()
    alone = operate(net, edited(planned(net), {"branches.1.f": "scale"}, {}))
    inside = operate(Guarded(net), edited(planned(Guarded(net)), {"part.branches.1.f": "scale"}, {}))
    x = torch.randn(IMAGE)
    assert not isinstance(inside.get_submodule("part.branches.1.f"), nn.Sequential)
    assert torch.equal(inside(x), alone(x))


def test_nothing_heavy_is_left_of_a_branch() -> None:
    """A 1×1 convolution, identities, and a copy where an activation in place would write over x."""
    net = Residual([0, 2])
    plan = edited(planned(net), {"branches.0": "scale", "branches.1.f": "map"}, {})
    network = operate(net, plan)
    kinds = {name: type(module) for name, module in network.named_modules() if name.startswith("branches.")}
    assert kinds.pop("branches.0").__name__ == "Basic"
    assert kinds.pop("branches.1").__name__ == "Whole"
    assert kinds == {
        "branches.0.one": Copy,
        "branches.0.norm": nn.Identity,
        "branches.0.two": nn.Identity,
        "branches.0.last": nn.Conv2d,
        "branches.0.relu": nn.ReLU,
        "branches.1.f": nn.Conv2d,
    }


@pytest.mark.parametrize("trained", [True, False])
def test_what_is_left_follows_the_branch(trained: bool) -> None:
    """dtype and ``requires_grad`` are the branch's; the caller's network is untouched."""
    net = Residual([0]).half().requires_grad_(trained)
    before = copy.deepcopy(net.state_dict())
    unit: Any = operate(net, edited(planned(net), {"branches.0": "scale"}, {})).get_submodule("branches.0.last")
    assert (unit.weight.dtype, unit.weight.requires_grad) == (torch.float16, trained)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
