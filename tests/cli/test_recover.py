"""``convsurgeon recover``: whole outputs, files, refusals, and the way back after an interruption."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.text import Text

import convsurgeon
from convsurgeon import Report
from convsurgeon.cli.app import run
from convsurgeon.cli.training import training_display
from convsurgeon.recovery import RecoverSettings, Score
from convsurgeon.recovery.loop import Trainer
from convsurgeon.recovery.moment import Moment
from tests.recovery.lessons import equal

FACTORY = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )


build.example_inputs = torch.zeros(1, 3, 8, 8)


def other():
    return build()[:6]


other.example_inputs = torch.zeros(1, 3, 8, 8)
"""

RECOVER = ("recover", "net", "--data", "images", "--trust-factory", "--device", "cpu", "--steps", "6", "--batch", "8")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted factory's network, 20 images in two class folders, and one file that is no image."""
    home = tmp_path_factory.mktemp("untouched")
    (home / "net.py").write_text(FACTORY)
    generator = np.random.default_rng(0)
    for i in range(20):
        path = home / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (10, 10, 3), dtype=np.uint8)).save(path)
    (home / "images" / "class0" / "broken.png").write_bytes(b"no image")
    with contextlib.chdir(home):
        assert run(["convert", "net.py:build", "--method", "compconv32", "-o", "net"]) == 0
    return home


@pytest.fixture
def folder(
    untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """A copy of it, in which the test stands."""
    shutil.copytree(untouched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    capsys.readouterr()
    return tmp_path


def _stderr(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def _interrupted(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command during whose fourth step somebody presses Ctrl-C."""
    learn = Trainer._learn

    def pressing(self: Trainer, *more: Any) -> bool:
        if self._tally.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *more)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_learn", pressing)
        patched.setattr("sys.argv", ["convsurgeon", *arguments])
        return run(arguments)


def test_the_whole_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to standard output in plain text, progress and warnings to standard error, the course to the page."""
    assert run([*RECOVER, "--evaluate-every", "3", "--html", "page.html"]) == 0
    out, err = capsys.readouterr()
    shape = re.sub(r"\d+\.\d+", "N", out)
    report = Report.model_validate_json((folder / "net-recovered" / "report.json").read_text())
    assert report.recovery is not None
    assert shape == (
        "net.py:build with compconv32: 6 steps on 48 images (cpu)\n"
        "loss N → N\n"
        "on 2 held-out images:\n"
        "  original top-1 N %\n"
        "  before   top-1 N %\n"
        "  after    top-1 N %\n"
        f"kept: the weights of step {report.recovery.kept_step}\n"
        'saved to net-recovered; load it with: convsurgeon.load("net-recovered", trust_factory=True)\n'
    )
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "top-1 accuracy by step" in page
    assert "convsurgeon convert net.py:build --method compconv32 -o net\nconvsurgeon recover net" in page
    assert re.search(r"step 3/6, epoch 2, loss \d+\.\d+, top-1 \d+\.\d+ %, [\d,]+ images/s, \d+:\d\d left\n", err)
    assert "\x1b" not in out + err
    assert "1 training images can't be read and were passed over, e.g. broken.png" in " ".join(err.split())
    assert "images were prepared in a GUESSED way" in " ".join(err.split())


def test_json_and_the_saved_folder_say_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the report with its history, and nothing else; the folder loads and differs from the start."""
    assert run([*RECOVER, "--json", "--label-weight", "0.5", "-o", "out"]) == 0
    report = Report.model_validate_json(capsys.readouterr().out)
    assert report == Report.model_validate_json((folder / "out" / "report.json").read_text())
    assert report.recovery is not None
    assert report.recovery.labels
    assert report.recovery.settings.label_weight == 0.5
    assert report.recovery.steps == 6
    before, after = (convsurgeon.load(folder / name, trust_factory=True) for name in ("net", "out"))
    assert not equal(before, after)
    assert run(["report", "out"]) == 0
    assert "recovery: 6 steps, 48 images" in capsys.readouterr().out


def test_an_interrupted_command_resumes_to_the_same_result(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C exits with 130 and the command to go on with; that one ends with the bits of an uninterrupted run."""
    assert run([*RECOVER, "-o", "whole"]) == 0
    assert _interrupted(RECOVER, monkeypatch) == 130
    err = _stderr(capsys)
    assert "interrupted after step 4 of 6; the checkpoint is in 'net-recovered.training'" in err
    assert "go on with: convsurgeon recover net --data images" in err
    assert err.endswith("--resume")
    assert not (folder / "net-recovered").exists()
    assert run(RECOVER) == 2
    assert "holds an earlier run's checkpoint: go on with --resume" in _stderr(capsys)
    assert run([*RECOVER, "--resume"]) == 0
    resumed, whole = (convsurgeon.load(folder / name, trust_factory=True) for name in ("net-recovered", "whole"))
    assert equal(resumed, whole)
    assert run(RECOVER) == 2
    assert "'net-recovered' exists already" in _stderr(capsys)
    assert run([*RECOVER, "--force"]) == 0


def _more_classes(folder: Path) -> None:
    (folder / "images" / "class2").mkdir()
    (folder / "images" / "class0" / "0.png").rename(folder / "images" / "class2" / "0.png")


def _flat(folder: Path) -> None:
    for path in (folder / "images").glob("*/*.png"):
        path.rename(folder / "images" / path.name)
    for path in (folder / "images").glob("class*"):
        path.rmdir()


def _random_weights(folder: Path) -> None:
    report = json.loads((folder / "net" / "report.json").read_text())
    report["weights"] = {"origin": "file", "detail": "gone.safetensors"}
    (folder / "net" / "report.json").write_text(json.dumps(report))


def _nothing(_: Path) -> None:
    return


@pytest.mark.parametrize(
    ("prepare", "more", "code", "message"),
    [
        (_nothing, (), 0, ""),
        (
            _more_classes,
            (),
            2,
            "3 class folders .* can't be mapped to 2 outputs.* Or train without labels: --no-labels",
        ),
        (_more_classes, ("--no-labels",), 0, ""),
        (_flat, (), 0, ""),
        (_flat, ("--labels",), 2, "has no class folders"),
        (_flat, ("--label-weight", "1"), 2, "label_weight is set, but a batch has no labels"),
        (_random_weights, (), 2, "the original's weights came from gone.safetensors, which is not there"),
        (_random_weights, ("--weights", "none"), 2, "has random weights .* nothing to recover towards"),
        (_nothing, ("--data", "nowhere"), 2, "no folder of images at 'nowhere'"),
        (_nothing, ("--lr-new", "-1"), 2, "--lr-new -1.0: input should be greater than 0"),
        (_nothing, ("--resume",), 2, "no checkpoint to resume from"),
        (_nothing, ("--device", "warp"), 2, "the device 'warp' can't be used"),
        (_nothing, ("--precision", "fp16"), 2, "fp16 needs a GPU"),
    ],
)
def test_bad_requests(
    prepare: Any, more: Sequence[str], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders that do not fit, weights that are not there and options out of bounds: one message, exit code 2."""
    prepare(folder)
    assert run([*RECOVER, *more]) == code
    assert re.search(message, _stderr(capsys))
    assert (folder / "net-recovered").exists() == (code == 0)


def test_a_factory_is_code_and_is_not_run_untold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --trust-factory the folder's factory does not run."""
    (folder / "net.py").write_text(f"open('ran', 'w').close()\n{FACTORY}")
    assert run([a for a in RECOVER if a != "--trust-factory"]) == 2
    assert "is built by the factory 'net.py:build', which is code. Pass --trust-factory" in _stderr(capsys)
    assert not (folder / "ran").exists()


def test_a_network_that_is_no_classifier_is_recovered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Maps have no labels: class folders are not read, and closeness to the original is reported."""
    assert run(["convert", "net.py:other", "--method", "compconv32", "-o", "maps"]) == 0
    assert run(["recover", "maps", *RECOVER[2:]]) == 0
    assert re.search(r"  original output error 0\.00 %\n  before   output error \d", capsys.readouterr().out)


def test_defaults_come_from_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Every training setting has an option, and its help shows the record's default."""
    assert run(["recover", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in RecoverSettings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert field.default is None or f"[default: {field.default}]" in text


def test_a_terminal_gets_a_live_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the bar shows steps, loss, score, speed and time left, a row below it the status; then both go."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    groups = "macs 61.2%, asked macs=50%, groups 1×9 2 4×3 (40% frozen)"
    at = Moment(3, 6, 1, 0.5, Score(images=8, accuracy=0.75), 1234.5, 65.0, groups)
    with training_display() as show:
        show(at)
    out, err = capsys.readouterr()
    assert out == ""
    rows = [line.rstrip() for line in Text.from_ansi(err).plain.split("\n")]
    assert any(row.endswith("step 3/6, epoch 2, loss 0.5000, top-1 75.00 %, 1,234 images/s, 1:05 left") for row in rows)
    assert groups in rows
    assert err.rstrip("\n").endswith("\x1b[2K")


def test_force_forgets_nothing_for_a_request_that_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--force takes an earlier run's checkpoints away once the new run can start, and not before."""
    assert run(RECOVER) == 0
    checkpoint = folder / "net-recovered.training" / "last.safetensors"
    before = checkpoint.read_bytes()
    assert run([*RECOVER, "--force", "--weights", "none"]) == 2
    assert checkpoint.read_bytes() == before
    assert run([*RECOVER, "--force", "--seed", "1"]) == 0
    assert checkpoint.read_bytes() != before
    capsys.readouterr()


def test_the_command_to_go_on_with_still_replaces_the_output(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was forced over an old result says so in the command that goes on, which then works as it stands."""
    (folder / "net-recovered").mkdir()
    assert _interrupted([*RECOVER, "--force"], monkeypatch) == 130
    (again,) = re.findall(r"go on with: convsurgeon (.*)", capsys.readouterr().err)
    assert run(shlex.split(again)) == 0
    assert (folder / "net-recovered" / "report.json").is_file()


@pytest.mark.parametrize("made_from", ["a file that is gone", "a model object"])
def test_an_original_that_the_folder_can_t_build_is_named(
    made_from: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal names --original, with which the same command runs; another architecture is refused."""
    if made_from == "a model object":
        manifest = json.loads((folder / "net" / "convsurgeon.json").read_text())
        unnamed = {"rebuild": None, "source": None, "source_sha256": None}
        (folder / "net" / "convsurgeon.json").write_text(json.dumps(manifest | unnamed))
    (folder / "net.py").rename(folder / "moved.py")
    untrusted = [word for word in RECOVER if word != "--trust-factory"]
    code = {"a model object": 2, "a file that is gone": 3}[made_from]
    assert run(RECOVER) == code
    assert "--original MODEL" in _stderr(capsys)
    assert run([*untrusted, "--original", "moved.py:other"]) == 3
    assert not (folder / "net-recovered").exists()
    assert run([*untrusted, "--original", "moved.py:build", "--force"]) == 0
    assert capsys.readouterr().out.endswith('load it with: convsurgeon.load("net-recovered", model=...)\n')
    assert (folder / "net-recovered" / "report.json").is_file()
