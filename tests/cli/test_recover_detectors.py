"""``convsurgeon recover`` of a detector, on a folder of images of varying size and a file of annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from convsurgeon import Report
from convsurgeon.cli.app import run
from tests.recovery.detectors import SIZES

FACTORY = """
import torch
from tests.recovery.detectors import dense


def build():
    return dense()


build.example_inputs = ([torch.zeros(3, 40, 40)],)


def plain():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3))


plain.example_inputs = torch.zeros(1, 3, 16, 16)
"""
RECOVER = ("recover", "net", "--data", "images", "--trust-factory", "--device", "cpu", "--steps", "2", "--batch", "4")
TAUGHT = (*RECOVER, "--annotations", "instances.json", "--label-weight", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converted detector, eight images of four sizes, seven of which are annotated."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "images").mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(8):
        pixels = torch.randint(255, (*SIZES[i % 4], 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(tmp_path / "images" / f"{i}.png")
    about = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(7)],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [2, 2, 20, 20]} for i in range(7)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(about))
    assert run(["convert", "net.py:build", "--method", "compconv32", "--only", "backbone.body.*", "-o", "net"]) == 0
    return tmp_path


def test_a_folder_of_any_sizes_and_boxes_trains_a_detector(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images keep their sizes, boxes follow the views, one image without a row is left out, the report names heads."""
    assert run([*TAUGHT]) == 0
    out, err = capsys.readouterr()
    assert "compared before boxes are chosen, at head, and at what they take: backbone" in out
    assert "1 of 8 images are not in instances.json; left out" in " ".join(err.split())
    report = Report.model_validate_json((folder / "net-recovered" / "report.json").read_text())
    assert report.recovery is not None
    assert report.recovery.labels
    assert report.recovery.images == 4 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*RECOVER, "--annotations", "instances.json"), "looked at only with --label-weight above 0"),
        ((*TAUGHT, "--resize", "32"), "boxes can't follow that"),
        ((*TAUGHT, "--annotations", "other.json"), "none of the 8 images in 'images' is in other.json, e.g."),
    ],
)
def test_annotations_that_lead_to_nothing_are_refused(
    arguments: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a weight on them, under a preprocessing that moves them, or of other images; TAUGHT is taken, above."""
    (folder / "other.json").write_text('{"images": [{"id": 1, "file_name": "x.png"}], "annotations": []}')
    assert run(list(arguments)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "net-recovered").exists()


def test_annotations_are_for_networks_that_take_a_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that takes a batch has no use for boxes."""
    assert run(["convert", "net.py:plain", "--method", "compconv32", "-o", "net", "--force"]) == 0
    assert run([*TAUGHT]) == 2
    assert "networks that take a list of images, as detectors do" in " ".join(capsys.readouterr().err.split())
