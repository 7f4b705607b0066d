"""``demo -o DIR``: files to try other commands on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from convsurgeon.cli.app import run
from convsurgeon.demo.data import digits
from convsurgeon.demo.net import trained
from convsurgeon.models.loading import load_model


def test_the_files_are_the_demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory with the weights is the trained network, and every image is a digit under its label."""
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "-o", "digits"]) == 0
    loaded = load_model("digits/net.py:build", weights="digits/net.safetensors")
    assert all(torch.equal(value, trained().state_dict()[name]) for name, value in loaded.model.state_dict().items())
    train, test = digits()
    assert len(list(Path("digits/images").iterdir())) == len(train.images)
    for number in (0, 200):
        path = Path("digits/labelled", str(int(test.labels[number])), f"{number:04}.png")
        assert torch.allclose(to_tensor(Image.open(path)), test.images[number], atol=1 / 255)


def test_a_folder_that_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing in it changes; another name is written."""
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    assert run(["demo", "-o", "here"]) == 2
    assert "'here' exists already; choose another -o DIR." in capsys.readouterr().err
    assert list(Path("here").iterdir()) == []
    assert run(["demo", "-o", "there"]) == 0
