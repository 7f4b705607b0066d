"""The command line prepares images as it is told, and says where nobody told it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from convsurgeon.report.folder import read_report
from tests.cli.conftest import Ended

# Trained, as it were, on channels in −1…1: the sign of each image's brightness is its class.
FACTORY = """
import torch
from torch import nn

def build():
    convs = [nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 16), (16, 16), (16, 2))]
    net = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        for conv in convs:
            conv.weight.mul_(0.01); conv.bias.zero_()
        net[0].weight[0] += 1.0
        net[1].weight[0, 0] += 1.0
        net[2].weight[0, 0] += -1.0
        net[2].weight[1, 0] += 1.0
    return net
"""
INPUTS = "build.example_inputs = torch.rand(1, 3, 16, 16)\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a factory, its images and its classes."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FACTORY + INPUTS)
    generator = torch.Generator().manual_seed(0)
    for i in range(80):
        folder = Path("images") / ("dark" if i % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        level = 60 if i % 2 else 190
        pixels = (torch.rand(20, 20, 3, generator=generator) * 40 + level).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    Path("classes.txt").write_text("dark\nlight\n")
    return tmp_path


CONVERT = [
    "convert",
    "net.py:build",
    "--method",
    "igc",
    "--target",
    "macs=60%",
    "--calibrate",
    "images",
    "--images",
    "48",
]
LABELS = ["--evaluate", "images", "--classes", "classes.txt"]


def test_a_guessed_preparation_at_chance_is_said_and_the_right_one_is_not(
    home: Path, run: Callable[..., Ended]
) -> None:
    """A guess, and an original at chance, are said and stay in the report; said preprocessing ends both."""
    guessed = run(*CONVERT, *LABELS, "-o", "guessed")
    assert guessed.exit_code == 0, guessed.stderr
    assert "GUESSED" in guessed.stderr
    notes = " ".join(read_report(home / "guessed").notes)
    assert "GUESSED" in notes
    assert "ORIGINAL is no better than chance among 2 classes" in notes
    given = run(*CONVERT, *LABELS, "--mean", "0.5", "--std", "0.5", "-o", "given")
    assert given.exit_code == 0, given.stderr
    report = read_report(home / "given")
    assert report.fidelity is not None
    assert report.fidelity.accuracy_before == 1.0
    assert "GUESSED" not in " ".join(report.notes) + given.stderr
    assert "chance" not in " ".join(report.notes)
    assert report.preparation is not None
    assert report.preparation.settings.given == {"mean": "0.5", "std": "0.5"}


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ("127.5", "127.5", "mean 127.5 and std 127.5 is BEYOND THE SCALE of the images"),
        ("0.5", "64,64,64", "std 64,64,64 is BEYOND THE SCALE"),
        ("1", "1", ""),
        ("0.5", "0.5", ""),
    ],
)
def test_numbers_on_the_scale_of_bytes_are_said(
    mean: str, std: str, said: str, home: Path, run: Callable[..., Ended]
) -> None:
    """A mean or deviation that no channel in 0…1 has brings a warning and a note in the report, and is taken."""
    done = run(*CONVERT, *LABELS, "--mean", mean, "--std", std, "-o", "out")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("BEYOND THE SCALE") == (1 if said else 0)
    assert said in " ".join(read_report(home / "out").notes)
    assert ("BEYOND" in " ".join(read_report(home / "out").notes)) == (said != "")


@pytest.mark.usefixtures("home")
def test_an_order_of_classes_that_nobody_gave_is_said(run: Callable[..., Ended]) -> None:
    """Folders that stand for outputs by their order alone are a sentence on standard error; a file of names is none."""
    plain = ("convert", "net.py:build", "--method", "compconv128", "--dry-run", "--evaluate", "images")
    said = "class folders are outputs in sorted order: 'dark' is output 0, 'light' output 1;"
    assert said in run(*plain).stderr
    named = run(*plain, "--classes", "classes.txt")
    assert named.exit_code == 0
    assert "sorted order" not in named.stderr


def test_images_beyond_those_fitted_on_are_judged_on(home: Path, run: Callable[..., Ended]) -> None:
    """What --images leaves of the folder is judged on, with the eighth held back."""
    assert run(*CONVERT, "-o", "out").exit_code == 0
    fidelity = read_report(home / "out").fidelity
    assert fidelity is not None
    assert (fidelity.fitted, fidelity.inputs, fidelity.held_back) == (42, 6 + 32, True)


def test_a_recipe_says_it_too_and_an_option_wins(home: Path, run: Callable[..., Ended]) -> None:
    """The table [preprocessing] holds what the options say."""
    Path("recipe.toml").write_text("[preprocessing]\nmean = [0.1, 0.2, 0.3]\nstd = 0.25\n")
    done = run(*CONVERT, "--recipe", "recipe.toml", "--std", "0.5", "-o", "out")
    assert done.exit_code == 0, done.stderr
    preparation = read_report(home / "out").preparation
    assert preparation is not None
    assert preparation.settings.given == {"mean": "0.1,0.2,0.3", "std": "0.5"}


def test_a_recovery_prepares_images_as_the_conversion_did(home: Path, run: Callable[..., Ended]) -> None:
    """The folder keeps the preprocessing; recover takes it, unless it is told otherwise."""
    assert run(*CONVERT, "--mean", "0.5", "--std", "0.5", "-o", "out").exit_code == 0
    again = ("recover", "out", "--data", "images", "--trust-factory", "--steps", "2", *LABELS)
    done = run(*again, "-o", "same", "--json")
    assert done.exit_code == 0, done.stderr
    recovery = json.loads(done.stdout)["recovery"]
    assert recovery["original"]["accuracy"] == 1.0
    other = run(*again, "--mean", "0", "--std", "1", "-o", "other", "--json")
    assert other.exit_code == 0, other.stderr
    assert json.loads(other.stdout)["recovery"]["original"]["accuracy"] == 0.5
    assert "no better than chance" in " ".join(json.loads(other.stdout)["notes"])


def test_an_input_that_nobody_stated_is_said_to_be_assumed(home: Path, run: Callable[..., Ended]) -> None:
    """A factory without example_inputs is counted at an assumed size, which is said."""
    stated = run("inspect", "net.py:build")
    Path("net.py").write_text(FACTORY)
    assumed = run("inspect", "net.py:build")
    asked = run("inspect", "net.py:build", "--input", "1,3,16,16")
    assert [result.exit_code for result in (stated, assumed, asked)] == [0, 0, 0]
    assert "[1, 3, 224, 224] is ASSUMED" in assumed.stderr
    assert "ASSUMED" not in stated.stderr + asked.stderr


def test_a_part_of_what_the_factory_prescribes_is_refused(home: Path, run: Callable[..., Ended]) -> None:
    """Options replace a known preprocessing as a whole; a crop alone would take its normalisation away unsaid."""
    own = """
from torchvision.transforms import v2
build.transform = v2.Compose([v2.Resize((16, 16)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
"""
    Path("net.py").write_text(FACTORY + INPUTS + own)
    part = run(*CONVERT, "--crop", "16", "-o", "part")
    assert (part.exit_code, (home / "part").exists()) == (2, False)
    assert "brings its own preprocessing, which --crop would replace as a whole" in part.stderr
    whole = run(*CONVERT, "--crop", "16", "--mean", "0", "--std", "1", "-o", "whole")
    assert whole.exit_code == 0, whole.stderr
    kept = run(*CONVERT, "-o", "kept")
    assert kept.exit_code == 0, kept.stderr
    report = read_report(home / "kept")
    assert report.preparation is not None
    assert report.preparation.source == "factory"


def test_a_part_of_what_weights_prescribe_takes_the_rest_from_them(
    home: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the transform says its numbers, as torchvision's do, an option changes one and leaves the others."""
    own = """
from torchvision.transforms._presets import ImageClassification
build.transform = ImageClassification(crop_size=8, resize_size=12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
"""
    Path("net.py").write_text(FACTORY + INPUTS + own)
    done = run(*CONVERT, "--crop", "10", "-o", "out")
    assert done.exit_code == 0, done.stderr
    preparation = read_report(home / "out").preparation
    assert preparation is not None
    rest = {"mean": "0.1,0.2,0.3", "std": "0.5,0.5,0.5", "resize": "12", "interpolation": "bilinear"}
    assert preparation.settings.given == {**rest, "crop": "10"}


@pytest.mark.parametrize(
    ("transform", "code", "said"),
    [
        ("lambda image: plain(image) / (image.getextrema()[0][0] > 100)", 0, "its preprocessing makes NaN or infinity"),
        (
            "lambda image: plain(image) if image.getextrema()[0][0] > 100 else fail()",
            0,
            "preprocessing fails: NameError",
        ),
        ("lambda image: plain(image) if image.getextrema()[0][0] > 100 else close()", 0, "fails: GeneratorExit"),
        ("lambda image: image", 2, "the preprocessing makes a Image of"),
        (
            "lambda image: plain(image)[:, : 8 + (image.getextrema()[0][0] > 100)]",
            2,
            "in different sizes, [3, 8, 16] and",
        ),
        ("lambda image: plain(image)", 0, ""),
    ],
)
def test_images_that_the_factorys_transform_spoils_are_named(
    transform: str, code: int, said: str, home: Path, run: Callable[..., Ended]
) -> None:
    """An image that comes out as NaN, or not at all, is left out by its name; other transforms are refused."""
    plain = "plain = v2.Compose([v2.Resize((16, 16)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])"
    close = "def close(): raise GeneratorExit"
    code_of_its_own = f"\nfrom torchvision.transforms import v2\n{plain}\n{close}\nbuild.transform = {transform}\n"
    Path("net.py").write_text(FACTORY + INPUTS + code_of_its_own)
    done = run(*CONVERT, "-o", "out")
    assert done.exit_code == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert (".png: " in done.stderr) == (code == 0 and said != "")


def test_images_that_cannot_be_judged_on_are_counted(home: Path, run: Callable[..., Ended]) -> None:
    """Unreadable files are said also where they were only to be judged on."""
    for i in range(60):
        (home / "images" / "dark" / f"broken{i}.png").write_bytes(b"no image")
    done = run(*CONVERT, "-o", "out")
    assert done.exit_code == 0, done.stderr
    counted = [line for line in done.stderr.splitlines() if "can't be read and were left out" in line]
    assert sum(int(line.split()[1]) for line in counted) == 60
