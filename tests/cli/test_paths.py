"""Paths that are no UTF-8, as old archives and other locales leave them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from convsurgeon import load
from convsurgeon.models.checkpoints import read_checkpoint
from tests.cli.conftest import Ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such name")

ODD = os.fsdecode(b"d\xff")
METHOD = ("--method", "compconv128", "--weights", "none")
FACTORY = """\
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))

build.example_inputs = torch.zeros(1, 3, 8, 8)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (".", ODD, "d"):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "net.py").write_text(FACTORY)


def test_what_is_written_to_an_odd_path_is_read_again(run: Callable[..., Ended]) -> None:
    """A conversion is saved and loaded at a path that is no UTF-8, and the command in its report shows it escaped."""
    saved = f"{ODD}/saved"
    assert run("convert", "net.py:build", *METHOD, "-o", saved).exit_code == 0
    assert json.loads(Path(saved, "report.json").read_text())["command"].endswith(r"-o 'd\udcff/saved'")
    assert load(saved, trust_factory=True)(torch.zeros(1, 3, 8, 8)).shape == (1, 64, 4, 4)
    assert read_checkpoint(Path(saved, "model.safetensors")).state
    assert run("report", saved).exit_code == 0
    assert run("export", saved, "--trust-factory", "-o", f"{ODD}/net.pt2").exit_code == 0


@pytest.mark.parametrize("command", ["convert", "plan"])
@pytest.mark.parametrize("option", ["model", "weights"])
def test_a_model_that_no_plan_can_name_is_refused(command: str, option: str, run: Callable[..., Ended]) -> None:
    """A model or its weights at a path that is no UTF-8 is a usage error before any work; at another it is taken."""

    def ended(folder: str) -> Ended:
        if option == "model":
            return run(command, f"{folder}/net.py:build", *METHOD, "-o", "made")
        return run(command, "net.py:build", *METHOD[:2], "--weights", f"{folder}/w.pth", "-o", "made")

    for folder in (ODD, "d"):
        with Path(folder, "w.pth").open("wb") as file:
            torch.save({f"{n}.{k}": v for n in "01" for k, v in _conv(n).items()}, file)
    refused = ended(ODD)
    assert (refused.exit_code, Path("made").exists()) == (2, False)
    assert r"error: the path 'd\udcff/" in refused.stderr
    assert "Rename it, or go into its folder" in refused.stderr
    assert ended("d").exit_code == 0


def _conv(name: str) -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(64, 3 if name == "0" else 64, 3, 3), "bias": torch.zeros(64)}


def test_an_odd_current_folder_is_left_out(run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """From within a folder whose name is no UTF-8 a conversion goes elsewhere, and is built by the name typed."""
    monkeypatch.chdir(ODD)
    assert run("convert", "net.py:build", *METHOD, "-o", "../saved").exit_code == 0
    assert load("../saved", trust_factory=True)


def test_images_at_an_odd_path_are_used_and_named(run: Callable[..., Ended]) -> None:
    """Images in a folder whose name is no UTF-8 measure and train, and reports show the names escaped."""
    images = Path(ODD, "images")
    images.mkdir()
    for shade in range(8):
        Image.new("RGB", (8, 8), (shade * 30, 255 - shade * 20, 9 * shade)).save(images / f"{shade}.png")
    (images / os.fsdecode(b"\xff.png")).touch()
    options = ("--input", "1,3,8,8", "--mean", "0", "--std", "1", "--json")
    explored = run(
        "explore", "net.py:build", "--methods", "igc", "--targets", "60", "--calibrate", str(images), *options
    )
    assert r"--calibrate 'd\udcff/images'" in json.loads(explored.stdout)["points"][1]["command"]
    assert run("convert", "net.py:build", *METHOD[:2], "-o", "saved").exit_code == 0
    training = ("--data", str(images), "--no-labels", "--steps", "1", "--batch", "8", "-o", f"{ODD}/trained")
    trained = run("recover", "saved", "--trust-factory", *training, *options[2:])
    assert json.loads(trained.stdout)["recovery"]["skipped_examples"][0].startswith(r"\udcff.png: ")


def test_bench_names_what_it_timed(run: Callable[..., Ended]) -> None:
    """A report of times shows a path that is no UTF-8 escaped."""
    ended = run("bench", f"{ODD}/net.py:build", "--runtime", "eager", "--seconds", "0.01", "--json")
    assert json.loads(ended.stdout)["model"] == r"d\udcff/net.py:build"
