"""Hostile names inside of a network: modules, parameters, buffers and classes, in every output that shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.hostile import HOSTILE, run_on_hostile

# No module is named with a dot.
NAME = HOSTILE.replace(".", "")
LONG = "x" * 3000
CODE = f"""
import torch
from torch import nn

NAME, LONG = {NAME!r}, {LONG!r}

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3)
        self.add_module(NAME, type(NAME, (nn.Conv2d,), {{}})(32, 32, 3))
        self.add_module(LONG, nn.Conv2d(32, 32, 3))
        self.add_module("odd", type(NAME, (nn.Identity,), {{}})())
        self.register_parameter(NAME + "p", nn.Parameter(torch.zeros(1)))
        self.register_buffer(NAME + "b", torch.zeros(1))
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        x = self._modules[LONG](self._modules[NAME](self.stem(x)))
        return self.head(self.odd(x).mean((2, 3)) + self._parameters[NAME + "p"] + self._buffers[NAME + "b"])

def build():
    torch.manual_seed(0)
    return type(NAME, (Body,), {{}})()

build.example_inputs = torch.zeros(1, 3, 9, 9)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network and images, in the current folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    Path("net.py").write_text(CODE)
    for number in range(12):
        Path("images").mkdir(exist_ok=True)
        Image.effect_noise((9, 9), 20.0 * number + 1).convert("RGB").save(f"images/{number}.png")
    return folder


def test_a_networks_names_are_shown_in_every_output(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the network is taken through, its names are escaped; pages hold them as text."""
    again = ["--trust-factory", "--force"]
    images = ["--calibrate", "images"]
    convert = ["convert", "net.py:build", "--method", "igc-l4m2", "--target", "macs=90%", *images]
    explore = ["explore", "net.py:build", "--methods", "igc-l4m2", "--targets", "90", *images]
    for command in (
        ["inspect", "net.py:build"],
        ["inspect", "net.py:build", "--json"],
        [*convert, "-o", "out", "--layers"],
        ["report", "out", "--layers", "--html", "out.html"],
        ["report", "out", "--markdown"],
        ["report", "out", "--json"],
        ["apply", "out/plan.json", "-o", "applied"],
        ["recover", "out", "--data", "images", "--steps", "1", "-o", "recovered", *again],
        ["compare", "out", "recovered"],
        [*explore, "--html", "explore.html"],
        [*explore, "--json"],
    ):
        assert run_on_hostile(command, capsys) == 0, command
    # torch.export reads no file with such names, and that is said of it.
    assert run_on_hostile(["lower", "out", "-o", "low.pt2", *again], capsys) == 3
    assert "b[/red]|`&lt;b&gt;" in (home / "out.html").read_text()
    for page in ("out.html", "explore.html"):
        assert "`<b>" not in (home / page).read_text()


def test_a_check_of_such_a_network(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, annotations, JUnit, summary and page of a check that fails."""
    check = ["check", "net.py:build", "--max-macs", "1", "--why", "--junit", "junit.xml", "--html", "check.html"]
    for more in ([], ["--markdown"], ["--json"]):
        assert run_on_hostile([*check, *more], capsys) == 1
    assert "`<b>" not in (home / "check.html").read_text()


@pytest.mark.parametrize(
    "state",
    [{NAME: torch.ones(1)}, {"a": {NAME: torch.ones(1)}, NAME: {"x": torch.ones(1)}}, {NAME: 3}, {f"model.{NAME}": 1}],
)
def test_names_in_weights(state: dict[str, object], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that do not fit are refused, with the names of both sides."""
    torch.save(state, "w.pth")
    assert run_on_hostile(["inspect", "net.py:build", "--weights", "w.pth"], capsys) in (2, 3)


@pytest.mark.parametrize("rule", ["--only", "--skip"])
def test_rules_that_name_nothing(rule: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that matches no layer is refused with near names, which are the network's."""
    words = ["convert", "net.py:build", "--method", "igc-l4m2", "--dry-run", rule]
    assert run_on_hostile([*words, NAME[:-1]], capsys) == 2
    assert run_on_hostile([*words, "stem"], capsys) in (0, 2)
