"""Folders of images: unlabelled for calibration, one folder per class for evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from convsurgeon.base.errors import INTERRUPTIONS, UnknownName, UsageError, did_you_mean, first_line, named_first_line
from convsurgeon.base.reading import read_text
from convsurgeon.models.coco import Annotations
from convsurgeon.models.image_file import ENDINGS, open_rgb
from convsurgeon.models.weights import Transform

__all__ = [
    "ImageBatches",
    "LabelledFolder",
    "batched",
    "calibration_images",
    "labelled_images",
    "read_image",
]

BATCH_SIZE = 32
_NAMES_SHOWN = 5


def read_image(path: Path, transform: Transform) -> Tensor | str:
    """An image [C, H, W] behind its preprocessing; for a file that gives none, its name and the reason.

    A truncated, mislabelled or absurdly large file, or one that the preprocessing makes NaN of (it divides by the
    spread of a constant picture), is no reason to lose a run; reports count what was left out.

    Raises:
        UsageError: the preprocessing returns no tensor.
    """
    try:
        picture = open_rgb(path)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        return f"{path.name}: {first_line(error)}"
    try:
        found = transform(picture)
    except INTERRUPTIONS:
        raise
    # A factory's transform may be any code.
    except BaseException as error:
        return f"{path.name}: its preprocessing fails: {named_first_line(error)}"
    if not isinstance(found, Tensor):
        raise UsageError(
            f"the preprocessing makes a {type(found).__name__} of {path.name}; expected a tensor [C, H, W]."
        )
    return found if bool(found.isfinite().all()) else f"{path.name}: its preprocessing makes NaN or infinity of it"


def batched(images: Sequence[Tensor], listed: bool) -> Tensor | list[Tensor]:
    """One batch [N, C, H, W], or the images [C, H, W] of any size as they are, for a network that takes a list.

    Raises:
        UsageError: the images of a batch differ in size.
    """
    if listed:
        return list(images)
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        shown = " and ".join(str(list(size)) for size in sorted(sizes)[:2])
        raise UsageError(f"images come out of the preprocessing in different sizes, {shown}; expected one size.")
    return torch.stack(list(images))


@dataclass
class ImageBatches:
    """Batches [N, C, H, W] of image files, read anew on every pass; files that could not be read so far are counted.

    Iterating yields ``(images, labels)`` with labels [N], −1 where there are none. The images are ``listed`` for
    networks that take a list of them, as detectors do; ``annotations`` know every file's image by its name.
    """

    files: tuple[tuple[Path, int], ...]
    transform: Transform
    listed: bool = False
    annotations: Annotations | None = None
    unreadable: dict[Path, str] = field(default_factory=dict)

    def part(self, start: int, stop: int | None = None) -> ImageBatches:
        """Some of the files."""
        return self.among(self.files[start:stop])

    def among(self, files: Sequence[tuple[Path, int]]) -> ImageBatches:
        """These files, read alike."""
        return ImageBatches(tuple(files), self.transform, self.listed, self.annotations)

    @property
    def skipped(self) -> list[str]:
        """Names and reasons of those files."""
        return list(self.unreadable.values())

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for start in range(0, len(self.files), BATCH_SIZE):
            read = [(self._read(path), label) for path, label in self.files[start : start + BATCH_SIZE]]
            kept = [(image, label) for image, label in read if image is not None]
            if kept:
                yield batched([image for image, _ in kept], self.listed), torch.tensor([label for _, label in kept])

    def _read(self, path: Path) -> Tensor | None:
        found = read_image(path, self.transform)
        if isinstance(found, str):
            self.unreadable[path] = found
            return None
        return found


def calibration_images(
    folder: Path, transform: Transform, *, limit: int, seed: int, listed: bool = False
) -> ImageBatches:
    """Up to ``limit`` images from a folder and its subfolders, drawn with ``seed``; labels are not looked at.

    Raises:
        UnknownName: no such folder.
        UsageError: it holds no image.
    """
    files = _image_files(folder)
    random.Random(seed).shuffle(files)
    return ImageBatches(tuple((path, -1) for path in files[:limit]), transform, listed)


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UnknownName(f"no folder of images at '{folder}'.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        raise UsageError(f"'{folder}' holds no image; expected files such as .jpg or .png, in subfolders or not.")
    return files


@dataclass(frozen=True)
class LabelledFolder:
    """Labelled images; ``assumed`` says which folder is which output where nobody did."""

    batches: ImageBatches
    assumed: str | None


def labelled_images(
    folder: Path,
    transform: Transform,
    *,
    outputs: int,
    categories: Sequence[str] | None = None,
    classes_file: Path | None = None,
) -> LabelledFolder:
    """One subfolder per class. A file of class names (one per line, in output order) decides, or else the weights'
    category names; folders that are not named so are taken sorted, if there are as many as outputs.

    Raises:
        UnknownName: no such folder or file, or a folder that maps to no output; with near names.
        UsageError: no class folders, or no images.
    """
    files = _image_files(folder)
    names = sorted({path.relative_to(folder).parts[0] for path in files if path.parent != folder})
    if not names:
        raise UsageError(f"'{folder}' has no class folders; expected {folder}/CLASS/IMAGE files.")
    empty = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."} - set(names)
    index, assumed = _class_index(names, empty, outputs, categories, classes_file)
    labelled = [(path, index[path.relative_to(folder).parts[0]]) for path in files if path.parent != folder]
    return LabelledFolder(ImageBatches(tuple(labelled), transform), assumed)


def _class_index(
    names: list[str], empty: set[str], outputs: int, categories: Sequence[str] | None, classes_file: Path | None
) -> tuple[dict[str, int], str | None]:
    """``empty`` folders have no image, and are classes all the same where only their order tells."""
    if classes_file is not None:
        return _by_name(names, _read_classes(classes_file, outputs), f"names in {classes_file}"), None
    if categories is not None and set(map(_plain, names)) & set(map(_plain, categories)):
        return _by_name(names, categories, "the weights' categories"), None
    folders = sorted({*names, *empty})
    if len(folders) == outputs:
        ends = f"'{folders[0]}' is output 0, '{folders[-1]}' output {outputs - 1}"
        return {name: i for i, name in enumerate(folders)}, f"class folders are outputs in sorted order: {ends}"
    without = f", of which {len(empty)} hold no image ({_some(sorted(empty))})," if empty else ""
    raise UnknownName(
        f"{len(folders)} class folders ({_some(folders)}){without} can't be mapped to {outputs} outputs: "
        "they are no category names, and sorting needs one folder per output. Pass --classes FILE."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")


def _read_classes(path: Path, outputs: int) -> list[str]:
    if not path.is_file():
        raise UnknownName(f"no file of class names at '{path}'.")
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) != outputs:
        raise UsageError(f"{path} names {len(lines)} classes; expected one line for each of the {outputs} outputs.")
    return lines


def _by_name(names: list[str], known: Sequence[str], what: str) -> dict[str, int]:
    position = {_plain(name): i for i, name in reversed(list(enumerate(known)))}
    unmapped = [name for name in names if _plain(name) not in position]
    if unmapped:
        raise UnknownName(
            f"{len(unmapped)} class folders are not among {what}: {', '.join(unmapped[:_NAMES_SHOWN])}."
            f"{did_you_mean(unmapped[0], known)}"
        )
    return {name: position[_plain(name)] for name in names}


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()
