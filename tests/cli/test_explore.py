"""``convert --at-least``, ``explore`` and ``compare`` on a small network and images that the test writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsurgeon.cli.app import run
from convsurgeon.planning.plan import CostRecord
from convsurgeon.report.comparison import Comparison
from convsurgeon.report.point import Point

FACTORY = """
from tests.conversion.floor_nets import small_net
import torch

def build():
    return small_net()

build.example_inputs = torch.zeros(1, 3, 8, 8)
"""


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    random = np.random.default_rng(0)
    for number in range(100):
        path = tmp_path / "images" / f"class{number % 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))


MODEL = ("net.py:build", "--calibrate", "images", "--images", "64", "--mean", "0.5", "--std", "0.2")


def test_an_exploration_shows_saves_and_repeats_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """One table, one JSON, one page; the command beside a network makes it, and so does --save."""
    explore = ("explore", *MODEL, "--evaluate", "images", "--methods", "igc", "--targets", "60,40")
    assert run([*explore, "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("igc-40") >= 2
    assert Path("page.html").read_text(encoding="utf-8").count("igc-40") >= 2
    assert run([*explore, "--json", "--save", "igc-40", "-o", "saved"]) == 0
    out, err = capsys.readouterr()
    assert err.endswith("saved igc-40 to saved\n")
    found = Comparison.model_validate_json(out)
    command = next(point.command for point in found.points if point.name == "igc-40")
    assert command is not None
    line = shlex.join(["convsurgeon", "convert", "net.py:build", *MODEL[1:5], "--evaluate", "images"])
    assert command.startswith(line)
    assert command in shown
    assert run([*shlex.split(command)[1:], "-o", "again", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["plan"] == json.loads(Path("saved", "plan.json").read_text(encoding="utf-8"))
    assert run(["compare", "saved", "again"]) == 0
    assert "again" in capsys.readouterr().out


def test_a_floor_is_shown_with_its_bound(capsys: pytest.CaptureFixture[str]) -> None:
    """The report says what was seen, what is sure, on how many images, and what was tried."""
    assert run(["convert", *MODEL, "--method", "igc", "--at-least", "output-error=20%", "-o", "out"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "floor output-error=20%: " in shown
    assert "(44 inputs); one-sided 95% bound, on inputs that nothing was fitted on" in shown
    assert "smallest macs of " in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", *MODEL, "--at-least", "agreement=99%"), "on 44 inputs"),
        (("convert", "net.py:build", "--at-least", "agreement=50%"), "pass --calibrate DIR"),
        (("convert", *MODEL, "--at-least", "agreement"), "can't be read"),
        (("plan", *MODEL, "--evaluate", "images"), "pass --at-least"),
        (("explore", *MODEL, "-o", "out"), "pass --save POINT too"),
        (
            ("explore", "nonesuch.py:build", "--methods", "igc", "--targets", "60", "--save", "igc-50"),
            "no network 'igc-50'",
        ),
        (("explore", "net.py:build", "--weights", "none", "--calibrate", "images"), "random weights"),
        (("compare", "images"), "two or more folders"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one message with what to do, and nothing written."""
    before = set(Path().iterdir())
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())
    assert {path.name for path in set(Path().iterdir()) - before} <= {"cache"}


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 130, and the command that was typed."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convsurgeon.conversion.exploring.explored", stopped)
    assert run(["explore", *MODEL, "--targets", "60"]) == 130
    assert "what is finished is kept, go on with: convsurgeon explore net.py:build" in capsys.readouterr().err


def test_each_command_of_a_network_has_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovered network takes two commands, which can be copied one by one."""
    cost = CostRecord(macs=1, params=1)
    point = Point(name="a", model="net", method="igc", before=cost, after=cost, command="convsurgeon x\nconvsurgeon y")
    monkeypatch.setattr("convsurgeon.report.comparison.compare", lambda *_: Comparison.of([point]))
    assert run(["compare", "a", "b"]) == 0
    assert capsys.readouterr().out.endswith("a: convsurgeon x\na: convsurgeon y\n")
