"""A folder of images as training data: shuffled, augmented, read by worker processes, the same however it is read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsurgeon.base.errors import UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import as_inputs
from convsurgeon.models.images import ImageBatches, batched, read_image
from convsurgeon.models.weights import Transform
from convsurgeon.recovery.batches import UNLABELLED, Batch, Labels
from convsurgeon.recovery.own_losses import Target
from convsurgeon.recovery.randomness import mixed
from convsurgeon.recovery.settings import ImageSettings
from convsurgeon.recovery.views import View, drawn

__all__ = ["ImageSource", "split_files"]

Files = tuple[tuple[Path, int], ...]


def split_files(files: Files, settings: ImageSettings) -> tuple[Files, Files]:
    """Files to train on, and files held out: a seeded draw of at most the share and the number that are set."""
    count = min(int(len(files) * settings.held_out), settings.held_out_limit)
    held = set(random.Random(settings.seed).sample(range(len(files)), count))
    train = tuple(file for i, file in enumerate(files) if i not in held)
    return train, tuple(files[i] for i in sorted(held))


@dataclass(frozen=True)
class _Read:
    """One image, its label, what is on it, and the files that had to be passed over to get it."""

    image: Tensor
    label: int
    target: Target | None
    unreadable: tuple[tuple[int, str], ...]


class _Viewed:
    """The model's own preprocessing of a random view, which it remembers."""

    def __init__(self, transform: Transform, settings: ImageSettings) -> None:
        self._transform, self._settings = transform, settings

    def __call__(self, image: Any) -> Tensor:
        self.view = drawn(image, self._settings.augment, self._settings.smallest_crop)
        return self._transform(self.view.of(image))


class _Images(Dataset[_Read]):
    """Images by (epoch, number); randomness depends on these alone, not on the process that reads."""

    def __init__(self, batches: ImageBatches, settings: ImageSettings) -> None:
        self.files, self.transform, self.annotations = batches.files, batches.transform, batches.annotations
        self.settings = settings

    def __getitem__(self, key: tuple[int, int]) -> _Read:
        epoch, number = key
        unreadable: list[tuple[int, str]] = []
        # The next file takes an unreadable one's place, so that every process gets batches of the same size.
        for offset in range(len(self.files)):
            at = (number + offset) % len(self.files)
            path, label = self.files[at]
            viewed = _Viewed(self.transform, self.settings)
            with seeded(mixed(self.settings.seed, epoch, at)):
                found = read_image(path, viewed)
            if not isinstance(found, str):
                return _Read(found, label, self._target(path, found, viewed.view), tuple(unreadable))
            unreadable.append((at, found))
        raise UsageError(f"none of the {len(self.files)} images can be read, e.g. {unreadable[0][1]}.")

    def _target(self, path: Path, image: Tensor, view: View) -> Target | None:
        if self.annotations is None:
            return None
        if image.shape[1:] != (view.height, view.width):
            raise UsageError(
                f"the preprocessing makes {list(image.shape[1:])} of {path.name}, {view.height} × {view.width} pixels "
                "of which were taken; boxes can't follow that. Detectors resize images themselves: leave out --resize "
                "and --crop, or train without --annotations."
            )
        return view.target(self.annotations.of(path.name))


class _Order:
    """The batches of one epoch from ``first`` on, as this process's (epoch, number) keys."""

    def __init__(self, source: ImageSource, epoch: int, first: int) -> None:
        self.source, self.number, self.first = source, epoch, first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        s = self.source
        generator = torch.Generator().manual_seed(mixed(s.settings.seed, self.number))
        order: list[int] = torch.randperm(len(s.files), generator=generator).tolist()
        for batch in range(self.first, s.steps()):
            mine = order[batch * s.batch : (batch + 1) * s.batch][s.rank :: s.processes]
            yield [(self.number, at) for at in mine]

    def __len__(self) -> int:
        return self.source.steps() - self.first


@dataclass
class ImageSource:
    """Batches of image files in a new order every epoch; a rest smaller than half a batch is left out.

    Order and augmentation depend on the seed, the epoch and the file, so neither the number of processes nor of
    workers changes them. Unreadable files are replaced by the next one and counted.

    Raises:
        UsageError: no files, or fewer images in a batch than processes.
    """

    batches: ImageBatches
    settings: ImageSettings = field(default_factory=ImageSettings)
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        self.files = self.batches.files
        if not self.files:
            raise UsageError("there is no image to train on.")
        self.batch = min(self.settings.batch, len(self.files))
        if self.batch < self.processes:
            raise UsageError(f"a batch of {self.batch} images can't be shared by {self.processes} processes.")
        self._skipped: dict[int, str] = {}
        self._images = _Images(self.batches, self.settings)

    def steps(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.files), self.batch)
        return full + (rest >= max(self.batch / 2, self.processes, 2))

    def epoch(self, number: int, first: int) -> Iterator[Batch]:
        """The batches of one epoch from ``first`` on, without reading those before."""
        workers = self.settings.workers
        loader = DataLoader(
            self._images,
            batch_sampler=_Order(self, number, first),
            num_workers=workers,
            collate_fn=partial(_collate, self.batches.listed),
            generator=torch.Generator(),
            worker_init_fn=_one_thread if workers else None,
        )
        for batch, unreadable in loader:
            self._skipped.update(unreadable)
            yield batch

    def state(self) -> dict[str, Tensor]:
        """The files found unreadable so far; the order needs no state."""
        return {"unreadable": self.skipped()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Remember the unreadable files.

        Raises:
            UsageError: the state is that of other images.
        """
        if (flags := state.get("unreadable")) is None or len(flags) != len(self.files):
            was = "other data" if flags is None else f"{len(flags)} images"
            raise UsageError(
                f"the checkpoint was trained on {was}, and now there are {len(self.files)} images: that would be "
                "another run. Resume with the same images, or start anew elsewhere."
            )
        for at in flags.nonzero().flatten().tolist():
            self._skipped.setdefault(at, self.files[at][0].name)

    def skipped(self) -> Tensor:
        """One flag per file: 1 where it turned out unreadable."""
        flags = torch.zeros(len(self.files), dtype=torch.int32)
        flags[list(self._skipped)] = 1
        return flags

    def examples_of_skipped(self) -> list[str]:
        """Names and reasons of unreadable files."""
        return list(self._skipped.values())


def _collate(listed: bool, read: Sequence[_Read]) -> tuple[Batch, list[tuple[int, str]]]:
    unreadable = [bad for one in read for bad in one.unreadable]
    images = batched([one.image for one in read], listed)
    return Batch(as_inputs(images), _labels(read), len(read)), unreadable


def _labels(read: Sequence[_Read]) -> Labels | None:
    targets = tuple(one.target for one in read if one.target is not None)
    if targets:
        return targets
    labels = torch.tensor([one.label for one in read])
    return labels if bool((labels != UNLABELLED).any()) else None


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
