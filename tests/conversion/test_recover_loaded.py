"""Recovering a network that was loaded: its code ran twice, and its plan came with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convsurgeon import RecoverSettings, load, recover
from convsurgeon.base.errors import UsageError
from convsurgeon.cli.app import run
from convsurgeon.models.loading import load_model

CODE = """\
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.other = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 8, 1)
    def forward(self, x):
        return self.other(self.conv(x).relu())

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, width, 3), Block(width)
    def forward(self, x):
        return self.block(self.stem(x)).mean((2, 3))

def build():
    return Net(32)

def wider():
    return Net(48)

build.example_inputs = wider.example_inputs = torch.zeros(1, 3, 8, 8)
"""


@pytest.fixture(autouse=True)
def _saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    assert run(["convert", "mine.py:build", "--method", "compconv32", "--only", "block.conv", "-o", "saved"]) == 0


@pytest.mark.parametrize(("name", "fits"), [("mine.py:build", True), ("mine.py:wider", False)])
def test_a_loaded_network_is_recovered_and_saved(name: str, fits: bool) -> None:
    """A network from a folder is told from its original by names and shapes, before training; its plan is saved."""
    original, converted = load_model(name).model, load("saved", trust_factory=True)
    assert type(original) is not type(converted)
    data, settings = [torch.randn(4, 3, 8, 8)], RecoverSettings(steps=1)
    if not fits:
        with pytest.raises(UsageError, match=r"'stem' has the parameters .*\(32, 3, 3, 3\).*\(48, 3, 3, 3\).*expected"):
            recover(original, converted, data, settings=settings, device="cpu")
        return
    done = recover(original, converted, data, settings=settings, device="cpu")
    assert done.conversion is not None
    assert [layer.name for layer in done.conversion.plan.replaced] == ["block.conv"]
    again = load(done.save("recovered"), trust_factory=True)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again(x), done.model.eval()(x))


def test_only_what_was_replaced_counts_as_replaced() -> None:
    """A block whose class was made anew is the same block; only the unit in it differs from the original."""
    from convsurgeon.recovery.sites import find_sites

    sites = find_sites(load_model("mine.py:build").model, load("saved", trust_factory=True))
    assert sites.replaced == ("block.conv",)


def test_layers_that_another_tool_narrowed_are_named() -> None:
    """A module with fewer channels than its original is recovered where its layers are named, and refused otherwise."""
    original, pruned = load_model("mine.py:wider").model, load_model("mine.py:build").model
    data, settings = [torch.randn(4, 3, 8, 8)], RecoverSettings(steps=1)
    with pytest.raises(UsageError, match="'stem' has the parameters"):
        recover(original, pruned, data, settings=settings, device="cpu")
    names = ["stem", "block.conv", "block.other"]
    done = recover(original, pruned, data, settings=settings, narrowed=names, device="cpu")
    assert done.model(data[0]).shape == (4, 8)
    assert done.history.steps == 1
