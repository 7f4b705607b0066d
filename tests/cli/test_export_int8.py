"""``export --int8``: images prepared as the folder says, the whole outcome told, mistakes with their codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from convsurgeon.cli import app
from convsurgeon.deployment.exporting import formats, int8_file
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.timer import Effort
from tests.deployment.imitated_format import ImitatedFormat

FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4),
    )

build.example_inputs = torch.rand(1, 3, 8, 8)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a factory and images; times are hardly taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "FORMATS", (ImitatedFormat(),))
    monkeypatch.setattr(int8_file, "_TIMING", Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0))
    Path("net.py").write_text(FACTORY)
    Path("images").mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(40):
        pixels = (torch.rand(8, 8, 3, generator=generator) * 255).byte().numpy()
        Image.fromarray(pixels).save(f"images/{i}.png")
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = app.run(arguments)
    return (code, *capsys.readouterr())


@pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")
def test_a_folder_is_exported_as_it_was_prepared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The preparation that a conversion was told is taken again, and both comparisons are printed as JSON alone."""
    made = ("--method", "spatial", "--target", "macs=70%", "--calibrate", "images", "--mean", "0.5", "--std", "0.5")
    assert _run(capsys, "convert", "net.py:build", *made, "-o", "half")[0] == 0
    wanted = ("--int8", "--calibrate", "images", "--images", "24", "--at-least", "agreement=50%")
    code, out, err = _run(capsys, "export", "half", "--trust-factory", *wanted, "-o", "net.imitated", "--json")
    assert code == 0
    assert "GUESSED" not in err
    told = json.loads(out)["int8"]
    assert told["calibrated_on"] == 21
    assert (told["float_file"]["inputs"], told["float_file"]["held_back"]) == (19, True)
    assert told["original"]["inputs"] == 19
    assert Path("net.imitated").is_file()


@pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")
def test_weights_that_are_gone_are_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the file that the original's weights came from its name is told, and nothing is compared with it."""
    scope: dict[str, Any] = {}
    exec(FACTORY, scope)
    torch.save(scope["build"]().state_dict(), "w.pth")
    made = ("--weights", "w.pth", "--method", "spatial", "-o", "half")
    assert _run(capsys, "convert", "net.py:build", *made)[0] == 0
    wanted = ("half", "--trust-factory", "--int8", "--calibrate", "images", "-o", "net.imitated", "--json", "--force")
    code, out, err = _run(capsys, "export", *wanted)
    assert (code, json.loads(out)["int8"]["original"] is None, "not compared" in err) == (0, False, False)
    Path("w.pth").unlink()
    code, out, err = _run(capsys, "export", *wanted)
    assert (code, json.loads(out)["int8"]["original"]) == (0, None)
    assert "w.pth' is not there; put it back" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--int8",), "pass --calibrate DIR too"),
        (("--calibrate", "images", "--mean", "0.5"), "--calibrate, --mean can't be used without --int8"),
        (("--int8", "--calibrate", "nowhere"), "no folder of images at 'nowhere'"),
        (("--int8", "--calibrate", "images", "--at-least", "99%"), "expected agreement=99%"),
        (("--int8", "--calibrate", "images", "--no-lower"), "leave out --no-lower"),
    ],
)
@pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")
@pytest.mark.usefixtures("home")
def test_mistakes_are_refused(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake ends with code 2 and what to do, and nothing is written."""
    code, out, err = _run(capsys, "export", "net.py:build", *arguments, "-o", "net.imitated")
    assert (code, out) == (2, "")
    assert words in err
    assert not Path("net.imitated").exists()
