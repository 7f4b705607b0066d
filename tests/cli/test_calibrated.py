"""``convert --calibrate --evaluate`` from end to end, on a small network and images that the test writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Ended

FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )

build.example_inputs = torch.zeros(1, 3, 16, 16)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A factory, 40 images in two class folders, and one file that is no image; measured damage is kept beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(FACTORY)
    random = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "class0" / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_a_calibrated_conversion_reports_errors_agreement_and_accuracy(folder: Path, run: Callable[..., Ended]) -> None:
    """With images the plan rests on measured damage, every replaced layer shows its error, and labels give accuracy."""
    done = run(
        "convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "--json", "--calibrate",
        "images", "--evaluate", "images",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["plan"]["objective"].startswith("measured")
    assert report["inherited"] == "fitted in closed form on calibration inputs"
    plan = report["plan"]
    assert plan["after"]["macs"] <= 0.6 * plan["before"]["macs"]
    assert set(report["errors"]) == {row["name"] for row in plan["layers"] if row["action"] == "replaced"}
    assert report["fidelity"]["held_back"] is True
    assert report["fidelity"]["output_error"] >= 0
    assert report["fidelity"]["evaluated"] == 40
    assert 0 <= report["fidelity"]["accuracy_after"] <= 1
    assert "1 of 41 images can't be read and were left out, e.g. broken.png" in " ".join(done.stderr.split())


def test_a_second_target_reuses_the_measured_damage(folder: Path, run: Callable[..., Ended]) -> None:
    """The damage file is written once; another target reads it and does not change it."""
    arguments = ("plan", "net.py:build", "--method", "igc", "--calibrate", "images")
    assert run(*arguments, "--target", "macs=60%", "-o", "a.json").exit_code == 0
    (file,) = (folder / "cache").glob("damage-*.json")
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    assert run(*arguments, "--target", "macs=40%", "-o", "b.json").exit_code == 0
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_without_images_the_fit_is_said_to_see_the_weights_alone(folder: Path, run: Callable[..., Ended]) -> None:
    """A caller's weights without calibration are fitted blindly, and the report says what that loses."""
    done = run("convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "--json")
    report = json.loads(done.stdout)
    assert report["inherited"].startswith("fitted to the original's weights alone")
    assert report["plan"]["objective"].startswith("data-free proxy")
    assert report["fidelity"] is None


def test_refinement_needs_images(folder: Path, run: Callable[..., Ended]) -> None:
    """Gradient steps without calibration images are refused; with them the report says how many were taken."""
    arguments = ("convert", "net.py:build", "--method", "compconv128", "--json", "--refine", "2")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "pass --calibrate DIR too" in refused.stderr
    done = run(*arguments, "--calibrate", "images", "--images", "8")
    assert done.exit_code == 0, done.stderr
    words = "fitted in closed form on calibration inputs, then by 2 gradient steps a layer"
    assert json.loads(done.stdout)["inherited"] == words


def test_a_number_of_images_needs_a_folder(folder: Path, run: Callable[..., Ended]) -> None:
    """--images without --calibrate is refused, since it would change nothing."""
    done = run("convert", "net.py:build", "--images", "8")
    assert done.exit_code == 2
    assert "--images says how many images to calibrate on; pass --calibrate DIR too." in done.stderr


def test_class_names_need_labelled_images(folder: Path, run: Callable[..., Ended]) -> None:
    """--classes without --evaluate is refused, since it would change nothing; with it the names are read."""
    (folder / "names.txt").write_text("class0\nclass1\n")
    (folder / "others.txt").write_text("class0\nother\n")
    words = ("convert", "net.py:build", "--method", "compconv128", "--dry-run", "--classes", "names.txt")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "--classes names the folders of --evaluate; pass --evaluate DIR too." in refused.stderr
    assert run(*words, "--evaluate", "images").exit_code == 0
    other = run(*words[:-1], "others.txt", "--evaluate", "images")
    assert other.exit_code == 2
    assert "class1" in other.stderr


def test_unknown_preprocessing_is_said_once(folder: Path, run: Callable[..., Ended]) -> None:
    """A model whose preprocessing is not known brings one warning, however many folders are read."""
    words = ("convert", "net.py:build", "--method", "compconv128", "--calibrate", "images", "--evaluate", "images")
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("images were prepared in a GUESSED way") == 1


def test_a_folder_without_a_readable_image_is_refused(folder: Path, run: Callable[..., Ended]) -> None:
    """Where no file can be read, the message counts them and names one; one readable image is enough to go on."""
    bad = folder / "bad"
    bad.mkdir()
    (bad / "x.png").write_bytes(b"no image")
    words = ("convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "--calibrate", "bad")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "none of the 1 images to calibrate on can be read, e.g. x.png" in refused.stderr
    varied = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(varied).save(bad / "y.png")
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    assert "1 of 2 images can't be read and were left out" in done.stderr


def test_a_plan_names_the_command_that_carries_it_out(folder: Path, run: Callable[..., Ended]) -> None:
    """The command shown after planning names the weights and images of the plan, which the plan does not hold."""
    words = ("plan", "net.py:build", "--method", "compconv128", "-o", "p.json")
    assert run(*words).stdout.endswith("carry it out with: convsurgeon apply p.json\n")
    done = run(*words, "--force", "--weights", "none", "--calibrate", "images")
    assert done.stdout.endswith("convsurgeon apply p.json --weights none --calibrate images\n")


LATE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 3, stride=3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2),
    )

build.example_inputs = torch.zeros(1, 3, 16, 16)
"""


def test_too_few_images_are_refused_with_the_number_needed(folder: Path, run: Callable[..., Ended]) -> None:
    """Exit code 2 names the images given and needed; with that number, and nothing else changed, it plans."""
    (folder / "late.py").write_text(LATE)
    (folder / "images" / "class0" / "broken.png").unlink()
    words = ("plan", "late.py:build", "--method", "igc", "--target", "macs=60%", "--stem", "--calibrate", "images")
    refused = run(*words, "--images", "21", "-o", "a.json")
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert "21 are given, from which damage can't be told at 2 of 3 layers. 22 would be enough for every layer" in told
    assert run(*words, "--images", "22", "-o", "b.json").exit_code == 0
    assert not (folder / "a.json").exists()


# Every way to plan on images, without a fit and with one.
_WAYS = {
    "plan": ("plan", "net.py:build", "--method", "igc", "--target", "macs=60%"),
    "fixed": ("plan", "net.py:build", "--method", "compconv128"),
    "dry": ("convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "--dry-run"),
    "convert": ("convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "-o", "out"),
    "apply": ("apply", "made.json", "--dry-run"),
    "applied": ("apply", "made.json", "-o", "out"),
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("constant", 2, "without any difference"),
        ("equal", 0, "are equal: the fits know this one only"),
        ("unreadable", 2, "none of the 24 images to calibrate on can be read"),
        ("varied", 0, ""),
    ],
)
def test_a_plan_says_of_its_images_what_a_conversion_says(
    way: str, kind: str, code: int, said: str, folder: Path, run: Callable[..., Ended]
) -> None:
    """Images that nothing can be fitted on are refused by a plan and a dry run, too, and odd ones named once."""
    random = np.random.default_rng(0)
    first = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    (folder / "odd").mkdir()
    for i in range(24):
        other = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        pixels = {"constant": np.full_like(first, 77), "equal": first}.get(kind, other)
        Image.fromarray(pixels).save(folder / "odd" / f"{i}.png")
        if kind == "unreadable":
            (folder / "odd" / f"{i}.png").write_bytes(b"no image")
    assert run(*_WAYS["plan"], "-o", "made.json").exit_code == 0
    done = run(*_WAYS[way], "--calibrate", "odd")
    assert done.exit_code == code, done.stderr
    printed = " ".join((done.stdout + done.stderr).split())
    assert printed.count(said) == 1 if said else "equal" not in printed


@pytest.mark.parametrize("way", _WAYS)
def test_unreadable_images_are_counted_wherever_images_are_read(
    way: str, folder: Path, run: Callable[..., Ended]
) -> None:
    """The one file of 41 that is no image is said once, also where nothing is fitted, and not where it is gone."""
    words = "1 of 41 images can't be read and were left out, e.g. broken.png"
    assert run(*_WAYS["plan"], "-o", "made.json").exit_code == 0
    done = run(*_WAYS[way], "--calibrate", "images")
    assert done.exit_code == 0, done.stderr
    assert " ".join(done.stderr.split()).count(words) == 1
    (folder / "images" / "class0" / "broken.png").unlink()
    assert "can't be read" not in run(*_WAYS[way], "--calibrate", "images", "--force").stderr


def test_a_plan_file_says_of_its_images_what_is_odd_and_its_report_says_it_once(
    folder: Path, run: Callable[..., Ended]
) -> None:
    """The note stands in the plan, from which a report on the same images does not repeat it."""
    (folder / "odd").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    for i in range(9):
        Image.fromarray(pixels).save(folder / "odd" / f"{i}.png")
    planned = run(*_WAYS["plan"], "--calibrate", "odd", "-o", "odd.json", "--json")
    (note,) = [note for note in json.loads(planned.stdout)["notes"] if "are equal" in note]
    report = json.loads(run("apply", "odd.json", "--calibrate", "odd", "-o", "out", "--json").stdout)
    assert (note in report["plan"]["notes"], note in report["notes"]) == (True, False)
