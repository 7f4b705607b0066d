"""A folder of images as training data: shuffled, augmented, read by worker processes, the same however it is read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsurgeon.base.errors import UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import Inputs
from convsurgeon.models.images import read_image, stacked
from convsurgeon.models.weights import Transform
from convsurgeon.recovery.batches import UNLABELLED, Batch
from convsurgeon.recovery.randomness import mixed
from convsurgeon.recovery.settings import Augment, ImageSettings

__all__ = ["ImageSource", "augmented", "split_files"]

Files = tuple[tuple[Path, int], ...]
_RATIOS = (3 / 4, 4 / 3)


def split_files(files: Files, settings: ImageSettings) -> tuple[Files, Files]:
    """Files to train on, and files held out: a seeded draw of at most the share and the number that are set."""
    count = min(int(len(files) * settings.held_out), settings.held_out_limit)
    held = set(random.Random(settings.seed).sample(range(len(files)), count))
    train = tuple(file for i, file in enumerate(files) if i not in held)
    return train, tuple(files[i] for i in sorted(held))


def augmented(transform: Transform, augment: Augment, smallest_crop: float) -> Transform:
    """The model's own preprocessing, applied to a random part of the image, mirrored half of the time.

    The part covers ``smallest_crop`` … 1 of the area with sides 3:4 … 4:3; sizes, colours and interpolation stay
    those of the preprocessing. Randomness comes from torch's global generator.
    """
    if augment == "none":
        return transform
    from torchvision.transforms import v2

    flip = v2.RandomHorizontalFlip(0.5 if augment == "crop-flip" else 0.0)

    def prepare(image: Any) -> Tensor:
        box = v2.RandomResizedCrop.get_params(image, (smallest_crop, 1.0), _RATIOS)
        return transform(flip(v2.functional.crop(image, *box)))

    return prepare


@dataclass(frozen=True)
class _Read:
    """One image, its label, and the files that had to be passed over to get it."""

    image: Tensor
    label: int
    unreadable: tuple[tuple[int, str], ...]


class _Images(Dataset[_Read]):
    """Images by (epoch, number); randomness depends on these alone, not on the process that reads."""

    def __init__(self, files: Files, transform: Transform, seed: int) -> None:
        self.files = files
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> _Read:
        epoch, number = key
        unreadable: list[tuple[int, str]] = []
        # The next file takes an unreadable one's place, so that every process gets batches of the same size.
        for offset in range(len(self.files)):
            at = (number + offset) % len(self.files)
            path, label = self.files[at]
            with seeded(mixed(self.seed, epoch, at)):
                found = read_image(path, self.transform)
            if not isinstance(found, str):
                return _Read(found, label, tuple(unreadable))
            unreadable.append((at, found))
        raise UsageError(f"none of the {len(self.files)} images can be read, e.g. {unreadable[0][1]}.")


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
    """Batches [N, C, H, W] of image files in a new order every epoch; a rest smaller than half a batch is left out.

    Order and augmentation depend on the seed, the epoch and the file, so neither the number of processes nor of
    workers changes them. Unreadable files are replaced by the next one and counted.

    Raises:
        UsageError: no files, or fewer images in a batch than processes.
    """

    files: Files
    transform: Transform
    settings: ImageSettings = field(default_factory=ImageSettings)
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError("there is no image to train on.")
        self.batch = min(self.settings.batch, len(self.files))
        if self.batch < self.processes:
            raise UsageError(f"a batch of {self.batch} images can't be shared by {self.processes} processes.")
        self._skipped: dict[int, str] = {}
        change = augmented(self.transform, self.settings.augment, self.settings.smallest_crop)
        self._images = _Images(self.files, change, self.settings.seed)

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
            collate_fn=_collate,
            generator=torch.Generator(),
            worker_init_fn=_one_thread if workers else None,
        )
        for images, labels, unreadable in loader:
            self._skipped.update(unreadable)
            yield Batch(Inputs((images,)), labels if bool((labels != UNLABELLED).any()) else None, len(images))

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


_Collated = tuple[Tensor, Tensor, list[tuple[int, str]]]


def _collate(read: list[_Read]) -> _Collated:
    unreadable = [bad for item in read for bad in item.unreadable]
    return stacked([item.image for item in read]), torch.tensor([item.label for item in read]), unreadable


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
