"""Outputs ahead of a site are kept from site to site, and nothing comes out otherwise than if they were not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer import InheritSettings, inherit
from convsurgeon.transfer.capture import evaluating, site_calls
from convsurgeon.transfer.settled import Settled


class Tangled(nn.Module):
    """Shared modules, writes into what modules were given or returned, aliases, a unit that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.calls = 0
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.relu, self.same = nn.ReLU(inplace=True), nn.Identity()
        self.block = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.twice = nn.Conv2d(32, 32, 3, padding=1)
        self.last = nn.ModuleDict({"conv": nn.Conv2d(32, 32, 3, padding=1)})
        self.end = nn.Conv2d(32, 32, 3, padding=1)
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 32]."""
        self.calls += 1
        x = self.stem(x)
        self.relu(x)
        short = self.same(x)
        x = self.block(x)
        x += short
        x = self.twice(x).relu_()
        first, second = self.pair(x)
        x = self.twice(F.relu(first) + second["half"])
        return self.end(self.last["conv"](self.relu(x))).mean((2, 3))


class Pair(nn.Module):
    """A tuple and a dictionary, with a call counted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Twice and half of x."""
        self.calls += 1
        return 2 * x, {"half": x / 2}


BATCHES = [torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def test_fits_are_the_same_bit_for_bit() -> None:
    """With room for all outputs, for some, and for none, every weight is the same; the less room, the more runs."""
    model = Tangled().eval()
    plan = convsurgeon.plan(model, BATCHES[0], method="igc-l4m2")
    states, runs = [], []
    for room in (1 << 30, 60_000, 0):
        work = convsurgeon.apply(model, plan, BATCHES[0], random_weights=True).model
        pair = work.get_submodule("pair")
        assert isinstance(pair, Pair)
        pair.calls = 0
        inherit(model, work, plan, BATCHES, settings=InheritSettings(settled_bytes=room))
        states.append(work.state_dict())
        runs.append(pair.calls)
    assert all(torch.equal(states[0][name], other[name]) for other in states[1:] for name in other)
    assert runs[0] < runs[2]
    assert sorted(runs) == runs


@pytest.mark.parametrize("name", ["block.0", "twice", "last.conv"])
def test_what_a_site_reads_is_the_same(name: str) -> None:
    """From outputs of earlier passes a site reads what it reads without them, at every call and in every batch."""
    model, settled = Tangled().eval(), Settled(1 << 30)
    sites = ["stem", "block.0", "twice", "last.conv"]
    calls = 2 if name == "twice" else 1
    with evaluating(model):
        for site in sites[: sites.index(name) + 1]:
            for number, batch in enumerate(BATCHES):
                with settled.ahead_of(model.get_submodule(site), model, number):
                    found = site_calls(model, site, as_inputs(batch), calls if site == name else 1)
                if site == name:
                    wanted = site_calls(model, name, as_inputs(batch), calls)
                    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert "forward" not in vars(model.stem)


def test_settled_modules_do_not_run_again() -> None:
    """A module that ended before the site ran is not called for the next one; without room it is."""
    for room, runs in ((1 << 30, 1), (0, 2)):
        model, settled = Tangled().eval(), Settled(room)
        with evaluating(model):
            for _ in range(2):
                with settled.ahead_of(model.last["conv"], model, 0):
                    site_calls(model, "last.conv", as_inputs(BATCHES[0]), 1)
        assert model.pair.calls == runs
        assert model.calls == 2
