"""The demonstration's two files: they are what the script makes, they are small, and they ship."""

from __future__ import annotations

import hashlib
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from convsurgeon.demo.data import DIGITS, TRAIN_IMAGES, Epochs, digits
from convsurgeon.demo.net import WEIGHTS, trained
from convsurgeon.transfer.accuracy import top1_accuracy

ROOT = Path(__file__).parents[2]


def _bytes(name: str) -> bytes:
    return files("convsurgeon.demo").joinpath(name).read_bytes()


def test_the_digits_are_the_ones_that_were_checked_in() -> None:
    """The data has the checksum of the file that the script wrote, whatever machine it runs on."""
    assert (
        hashlib.sha256(_bytes(DIGITS)).hexdigest() == "2368626786ff35f80b63c9e5aefbf839091368ee2e6274f3cc17d63b184883fb"
    )


def test_the_digits_are_scikit_learns() -> None:
    """The same 1,797 images and labels in the same order, where scikit-learn is there to compare with."""
    source = pytest.importorskip("sklearn.datasets").load_digits()
    train, test = digits()
    assert torch.equal(torch.cat([train.images, test.images]).squeeze(1) * 16, torch.from_numpy(source.images).float())
    assert torch.equal(torch.cat([train.labels, test.labels]), torch.from_numpy(source.target).long())


def test_the_split_is_fixed() -> None:
    """The first 1,437 images are for training, the last 360 for accuracy; all ten digits are in both."""
    train, test = digits()
    assert (len(train.labels), len(test.labels), TRAIN_IMAGES) == (1437, 360, 1437)
    assert train.images.shape[1:] == test.images.shape[1:] == (1, 8, 8)
    assert train.labels.unique().tolist() == test.labels.unique().tolist() == list(range(10))
    assert float(train.images.max()) == 1.0


def test_the_network_is_small_and_knows_its_digits() -> None:
    """The weights take less than 1 MB, and the network is right on at least 355 of the 360 test images."""
    _, test = digits()
    assert len(_bytes(WEIGHTS)) < 1_000_000
    assert round(top1_accuracy(trained(), test.batches(120)).top1 * 360) >= 355


def test_the_files_ship_with_the_package() -> None:
    """Every file of the demonstration that is no code is named in the package data, its licence note among them."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["convsurgeon"]
    found = {path.name for path in (ROOT / "convsurgeon" / "demo").iterdir() if path.is_file() and path.suffix != ".py"}
    assert found == {DIGITS, WEIGHTS, "DIGITS-LICENCE.md"}
    assert all(any(fnmatch(f"demo/{name}", pattern) for pattern in patterns) for name in found)


def test_each_epoch_has_an_order_of_its_own() -> None:
    """Batches of one epoch are the same whenever it is read, full, and those of the next epoch are others."""
    train, _ = digits()
    epochs = Epochs(train.images, 64, seed=0)
    first, again = torch.cat(list(epochs)), torch.cat(list(epochs))
    epochs.set_epoch(1)
    assert len(epochs) == 22
    assert first.shape == (22 * 64, 1, 8, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.cat(list(epochs)))
