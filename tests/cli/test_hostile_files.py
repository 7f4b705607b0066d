"""Hostile text in every field of every file that people hand on: shown, never obeyed, in every output."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from convsurgeon.cli.app import run
from tests.cli.hostile import HOSTILE, PRINTABLE, run_on_hostile

CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3)
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))

build.example_inputs = torch.zeros(1, 3, 9, 9)
"""
RECIPE = """model = "net.py:build"
method = "igc-l4m2"
target = ["macs=90%"]
weights = "none"
[rules]
skip = ["0"]
only = ["1"]
[[rules.layers]]
match = "1"
method = "igc-l4m2"
"""
BUDGETS = """[[tool.convsurgeon.budgets]]
name = "net"
model = "net.py:build"
macs = "1k"
params = "+0%"
[[tool.convsurgeon.budgets]]
name = "small"
model = "net.py:build"
macs = "50% of net"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved conversion, a recipe, budgets with their lock, images and classes."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        for name, content in (("net.py", CODE), ("recipe.toml", RECIPE), ("pyproject.toml", BUDGETS)):
            Path(name).write_text(content)
        assert run(["convert", "--recipe", "recipe.toml", "-o", "out"]) == 0
        run(["check", "--update"])
        for name in ("cat", "dog"):
            Path("images", name).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(Path("images", name, "0.png"))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, which is the current folder."""
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "home"


def _hostile(value: Any, note: Callable[[Any], None], whole: Any) -> Iterator[None]:
    """For each text of a document, keys and values, the document with hostile text in its place, handed to ``note``."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in items:
        if isinstance(inner, str):
            value[key] = HOSTILE
            note(whole)
            yield
            value[key] = inner
        elif isinstance(inner, (dict, list)):
            yield from _hostile(inner, note, whole)
        if isinstance(key, str):
            kept = dict(value)
            value.clear()
            value.update({HOSTILE if name == key else name: content for name, content in kept.items()})
            note(whole)
            yield
            value.clear()
            value.update(kept)


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("report.json", [["report", "out"], ["report", "out", "--markdown"], ["report", "out", "--json"]]),
        ("plan.json", [["apply", "out/plan.json", "--weights", "none", "-o", "applied", "--force"]]),
        ("convsurgeon.json", [["check", "out", "--max-macs", "1k"], ["report", "out"]]),
    ],
)
def test_the_files_of_a_saved_conversion(
    name: str, commands: list[list[str]], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each text of report, plan and manifest, one after the other."""
    path = home / "out" / name
    document = json.loads(path.read_text())
    # Rows differ in nothing that matters here.
    for holder in (document, document.get("plan", {})):
        if "layers" in holder:
            holder["layers"] = holder["layers"][:2]
    for _ in _hostile(document, lambda whole: path.write_text(json.dumps(whole)), document):
        for command in commands:
            run_on_hostile(command, capsys)


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("recipe.toml", [["convert", "--recipe", "recipe.toml", "--dry-run"]]),
        ("pyproject.toml", [["check", "--junit", "junit.xml"]]),
        ("convsurgeon-budgets.lock", [["check", "--why"], ["check", "--markdown"]]),
    ],
)
def test_settings_and_the_lock(
    name: str, commands: list[list[str]], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each text of recipe, budgets and lock, keys included."""
    text = (home / name).read_text()
    for found in re.finditer(r'"[^"\n]*"', text):
        for hostile in (HOSTILE, PRINTABLE):
            (home / name).write_text(text[: found.start()] + json.dumps(hostile) + text[found.end() :])
            tomllib.loads((home / name).read_text())
            for command in commands:
                run_on_hostile(command, capsys)


def test_names_of_classes_and_images(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of the classes, a class's folder, and files that can't be read."""
    hostile = HOSTILE.replace("/", "")
    (home / "images" / hostile).mkdir()
    (home / "images" / hostile / f"{hostile}.png").write_bytes(b"no image")
    evaluate = ["convert", "net.py:build", "--method", "igc-l4m2", "--dry-run", "--evaluate", "images"]
    (home / "classes.txt").write_text(f"cat\n{HOSTILE}\n")
    run_on_hostile([*evaluate, "--classes", "classes.txt"], capsys)
    run_on_hostile(["convert", "net.py:build", "--method", "igc-l4m2", "--calibrate", "images", "-o", "new"], capsys)
