"""Folders of images: what is read, what is skipped, how folders map to outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.models.images import calibration_images, labelled_images, read_image
from convsurgeon.models.preprocessing import Preprocessing

TRANSFORM = Preprocessing().transform((1, 3, 8, 8))


def _image(path: Path, colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_images_are_made_into_the_models_input(tmp_path: Path) -> None:
    """Without known preprocessing an image becomes [3, H, W] in 0…1, whatever its own size."""
    _image(tmp_path / "a.png", size=(40, 17))
    ((images, labels),) = list(calibration_images(tmp_path, TRANSFORM, limit=9, seed=0))
    assert images.shape == (1, 3, 8, 8)
    assert torch.equal(images[0, 0], torch.ones(8, 8))
    assert torch.equal(images[0, 1], torch.zeros(8, 8))
    assert labels.tolist() == [-1]


def test_a_grey_model_gets_grey_images(tmp_path: Path) -> None:
    """An input with one channel reads colour images as grey."""
    _image(tmp_path / "a.png")
    ((images, _),) = list(calibration_images(tmp_path, Preprocessing().transform((1, 1, 8, 8)), limit=9, seed=0))
    assert images.shape == (1, 1, 8, 8)


def test_images_make_no_other_input() -> None:
    """An input that is neither grey nor colour is refused; the accepted twin has three channels."""
    with pytest.raises(UsageError, match=r"\[1, 4, 8, 8\]; expected \[N, 1, H, W\] or \[N, 3, H, W\]"):
        Preprocessing().transform((1, 4, 8, 8))
    Preprocessing().transform((1, 3, 8, 8))


def test_the_draw_follows_the_seed(tmp_path: Path) -> None:
    """The same seed draws the same files, never more than the limit, subfolders included."""
    for i in range(20):
        _image(tmp_path / f"sub{i % 2}" / f"{i}.png")
    drawn = [calibration_images(tmp_path, TRANSFORM, limit=7, seed=seed).files for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 7


def test_unreadable_files_are_skipped_and_counted(tmp_path: Path) -> None:
    """A file that is no image costs itself, not the run, and is counted once however often the folder is read."""
    _image(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    batches = calibration_images(tmp_path, TRANSFORM, limit=9, seed=0)
    for _ in range(2):
        assert sum(len(images) for images, _ in batches) == 1
    assert len(batches.skipped) == 1
    assert batches.skipped[0].startswith("bad.png: ")


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    """No folder is an unknown name, a folder without images a usage error; with one image it is read."""
    with pytest.raises(UnknownName, match="no folder of images"):
        calibration_images(tmp_path / "none", TRANSFORM, limit=9, seed=0)
    with pytest.raises(UsageError, match="holds no image"):
        calibration_images(tmp_path, TRANSFORM, limit=9, seed=0)
    _image(tmp_path / "a.png")
    assert len(calibration_images(tmp_path, TRANSFORM, limit=9, seed=0)) == 1


def _classes(folder: Path, *names: str) -> Path:
    for name in names:
        _image(folder / name / "a.png")
    return folder


def _labels(folder: Path, outputs: int, **options: object) -> list[int]:
    found = labelled_images(folder, TRANSFORM, outputs=outputs, **options)  # type: ignore[arg-type]
    return [label for _, label in found.batches.files]


def test_folders_map_to_categories_by_name(tmp_path: Path) -> None:
    """Folder names that are category names take the category's output, in any letter case and with underscores."""
    folder = _classes(tmp_path, "Big_Dog", "cat")
    assert _labels(folder, 3, categories=["cat", "horse", "big dog"]) == [2, 0]


def test_a_folder_among_categories_that_is_none_is_refused(tmp_path: Path) -> None:
    """One misspelt folder is an error with near names; spelt right it is mapped."""
    folder = _classes(tmp_path, "cat", "hrose")
    with pytest.raises(UnknownName, match=r"hrose.*Did you mean horse\?"):
        _labels(folder, 3, categories=["cat", "horse", "dog"])
    assert _labels(_classes(tmp_path / "ok", "cat", "horse"), 3, categories=["cat", "horse", "dog"]) == [0, 1]


def test_other_folders_are_taken_sorted(tmp_path: Path) -> None:
    """Folders that are no category names map in sorted order, if there is one for each output."""
    folder = _classes(tmp_path, "n02", "n01", "n03")
    assert _labels(folder, 3, categories=["cat", "horse", "dog"]) == [0, 1, 2]
    with pytest.raises(UnknownName, match=r"3 class folders .* can't be mapped to 4 outputs"):
        _labels(folder, 4)


def test_a_class_without_images_keeps_its_place(tmp_path: Path) -> None:
    """An empty folder is a class where only the order tells; where there is no place for it, the error names it."""
    folder = _classes(tmp_path, "a", "c")
    (folder / "b").mkdir()
    (folder / ".hidden").mkdir()
    assert _labels(folder, 3) == [0, 2]
    assert _labels(folder, 2, categories=["c", "a"]) == [1, 0]
    with pytest.raises(UnknownName, match=r"3 class folders \(a, b, c\), of which 1 hold no image \(b\), can't be"):
        _labels(folder, 2)


def test_a_file_of_classes_decides(tmp_path: Path) -> None:
    """--classes gives the output order; a file with another number of lines is refused."""
    folder = _classes(tmp_path / "images", "a", "b")
    lines = tmp_path / "classes.txt"
    lines.write_text("b\na\n")
    assert _labels(folder, 2, classes_file=lines) == [1, 0]
    lines.write_text("b\na\nc\n")
    with pytest.raises(UsageError, match="names 3 classes; expected one line for each of the 2 outputs"):
        _labels(folder, 2, classes_file=lines)


def test_images_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    """Evaluation needs DIR/CLASS/IMAGE; loose images are refused."""
    _image(tmp_path / "a.png")
    with pytest.raises(UsageError, match="has no class folders"):
        _labels(tmp_path, 2)
    assert _labels(_classes(tmp_path, "x", "y"), 2) == [0, 1]


def test_an_image_too_large_to_open_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that Pillow takes for an attack is left out and counted, and the others are read."""
    _image(tmp_path / "huge.png", size=(40, 40))
    _image(tmp_path / "small.png", size=(10, 10))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    found = calibration_images(tmp_path, TRANSFORM, limit=9, seed=0)
    assert sum(len(images) for images, _ in found) == 1
    assert [words.split(":")[0] for words in found.skipped] == ["huge.png"]


@pytest.mark.parametrize("mode", ["L", "I;16", "I", "F"])
def test_more_than_eight_bits_are_scaled(mode: str, tmp_path: Path) -> None:
    """A ramp from black to white is the same picture in 8 bits, in 16 bits, and as floats from 0 to 1."""
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    full, dtype = {"L": (255, np.uint8), "I;16": (65_535, np.uint16), "I": (65_535, np.int32), "F": (1, np.float32)}[
        mode
    ]
    path = tmp_path / "ramp.tif"
    Image.fromarray((ramp * full).astype(dtype)).save(path)
    assert Image.open(path).mode == mode
    found = read_image(path, Preprocessing().transform((1, 3, 16, 16)))
    assert not isinstance(found, str)
    assert float((found - torch.from_numpy(ramp).float()).abs().max()) < 0.004


@pytest.mark.parametrize(("top", "said"), [(1.0, False), (4.0, True)])
def test_numbers_of_unknown_range_are_left_out_with_a_word(top: float, said: bool, tmp_path: Path) -> None:
    """Floats beyond 1 may mean anything; those up to 1 are taken."""
    path = tmp_path / "x.tiff"
    Image.fromarray(np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)).save(path)
    found = read_image(path, TRANSFORM)
    assert isinstance(found, str) == said
    assert not said or found == "x.tiff: values from 0 to 4 in mode F; expected floats from 0 to 1"


def test_pictures_of_absurd_size_are_left_out_with_a_word(tmp_path: Path) -> None:
    """Sixty-four megapixels are enough; a small file may hold more."""
    Image.new("1", (9_000, 8_000)).save(tmp_path / "huge.png")
    found = read_image(tmp_path / "huge.png", TRANSFORM)
    assert found == "huge.png: 9000×8000 pixels; expected 64,000,000 at most"
    Image.new("1", (900, 800)).save(tmp_path / "large.png")
    assert not isinstance(read_image(tmp_path / "large.png", TRANSFORM), str)


def test_no_decoder_that_runs_programs_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is no picture here, whatever its file is called; the PNG beside it is one."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    for name in ("a.eps", "a.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name, format="EPS")
    assert isinstance(read_image(tmp_path / "a.eps", TRANSFORM), str)
    assert isinstance(read_image(tmp_path / "a.png", TRANSFORM), str)
    _image(tmp_path / "b.png")
    files = calibration_images(tmp_path, TRANSFORM, limit=9, seed=0).files
    assert {path.name for path, _ in files} == {"a.png", "b.png"}
