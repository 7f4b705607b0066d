"""Where models come from: one list, asked in order; a source more is one file and one line in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.cli.app import run
from convsurgeon.models import loading
from convsurgeon.models.loading import build_model, is_factory, load_model, source_of
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.source import ModelSource
from convsurgeon.models.weights import WeightedModel, WeightsRequest


class _Toy:
    """A model that the source below knows by the name of ``toy:one``."""

    spec = "toy:one"
    states_inputs = True

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))

    def load(self, request: WeightsRequest, seed: int) -> WeightedModel:
        return WeightedModel(self.spec, self.build(), WeightsOrigin("random", "random: a toy"), None, None)

    def inputs(self, shape: tuple[int, ...] | None, seed: int, model: nn.Module | None = None) -> Inputs:
        return Inputs(args=(torch.zeros(shape or (1, 3, 9, 9)),))


TOY = ModelSource(
    form="toy:NAME", takes=lambda name: name.startswith("toy:"), names=lambda: ["toy:one"], find=lambda name: _Toy()
)


def test_a_source_more_is_taken_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading, converting from the command line, loading what was saved, and globs in budgets know it at once."""
    monkeypatch.setattr(loading, "SOURCES", (TOY, *loading.SOURCES))
    monkeypatch.chdir(tmp_path)
    assert load_model("toy:one").spec == "toy:one"
    assert run(["convert", "toy:one", "--method", "compconv32", "-o", "out"]) == 0
    assert run(["report", "out"]) == 0
    (tmp_path / "pyproject.toml").write_text('[[tool.convsurgeon.budgets]]\nmodel = "toy:*"\nmacs = "1G"\n')
    assert run(["check"]) == 0
    assert "toy:one" in capsys.readouterr().out


def test_an_unknown_prefix_is_nobodys_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A word before the colon that is no module is refused with the known forms; a module of that name is code."""
    monkeypatch.chdir(tmp_path)
    for ask in (is_factory, build_model, load_model, source_of):
        with pytest.raises(
            UnknownName, match=r"no source 'hf:' and no module 'hf'.*timm:NAME, package\.module:factory"
        ):
            ask("hf:microsoft/resnet-50")
    monkeypatch.delitem(sys.modules, "hf", raising=False)
    (tmp_path / "hf.py").write_text("def build():\n    import torch\n    return torch.nn.Conv2d(3, 3, 1)\n")
    assert is_factory("hf:build")
    assert isinstance(build_model("hf:build"), nn.Conv2d)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("resnet18", False),
        ("timm:resnet18", False),
        ("torch.nn:Identity", True),
        ("nowhere.at.all:build", True),
        ("folder/net.py:build", True),
    ],
)
def test_what_would_run_the_callers_code_is_known_without_running_it(name: str, code: bool) -> None:
    """A name alone says whether building its model runs code of the caller's."""
    assert is_factory(name) is code


def test_a_file_without_its_function_is_refused() -> None:
    """A Python file is no model; its function is."""
    with pytest.raises(UsageError, match=r"say which function in it builds the model: net\.py:FUNCTION"):
        build_model("net.py")
