"""Training data as a source of batches that can start anywhere: at epoch 3, batch 17, as a resumed run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from convsurgeon.base.batch_axis import image_list
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.recovery.own_losses import Target, are_targets
from convsurgeon.recovery.randomness import reseed

__all__ = ["Batch", "IterableSource", "Labels", "Source", "as_labelled"]

UNLABELLED = -1


Labels = Tensor | tuple[Target, ...]


@dataclass(frozen=True)
class Batch:
    """What one process sees of one step; ``images`` is N.

    ``labels`` [N], or [N, H, W] of every pixel, are integers, −1 where there is none; or one target for each image, as
    a detector learns from.
    """

    inputs: Inputs
    labels: Labels | None
    images: int


class Source(Protocol):
    """Batches, epoch by epoch."""

    def steps(self) -> int | None:
        """Batches in an epoch; None if that is not known."""
        ...

    def epoch(self, number: int, first: int) -> Iterator[Batch]:
        """The batches of one epoch from number ``first`` on; the same ones whenever it is asked again."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Random states from which the current epoch started, for the checkpoint."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put them back, before ``epoch`` is called."""
        ...

    def skipped(self) -> Tensor:
        """One flag per file that turned out unreadable so far; empty where there are no files."""
        ...

    def examples_of_skipped(self) -> list[str]:
        """Names and reasons of unreadable files."""
        ...


def as_labelled(element: Any) -> tuple[Inputs, Labels | None]:
    """Read one element of the data.

    A pair (inputs, labels) has integer labels with as many entries as the inputs, or masks of them [N, H, W] beside
    images [N, C, H, W]; a pair (images, targets), as torchvision's detection references collate them, a target for each
    image [C, H, W]. Everything else is inputs as the model takes them: a tensor, a list of images, a tuple of
    positional arguments, a dict of keyword arguments.

    Raises:
        UsageError: anything else.
    """
    if isinstance(element, (tuple, list)) and len(element) == 2 and are_targets(element[1]):
        images, targets = as_inputs(list(element[0])), tuple(element[1])
        if len(images.args[0]) != len(targets):
            raise UsageError(f"a batch has {len(images.args[0])} images and {len(targets)} targets; expected as many.")
        return images, targets
    if isinstance(element, (tuple, list)) and len(element) == 2 and _are_labels(element[1], element[0]):
        inputs = as_inputs(element[0])
        if _size(inputs) not in (None, len(element[1])):
            raise UsageError(f"a batch has {_size(inputs)} inputs and {len(element[1])} labels; expected as many.")
        return inputs, element[1]
    return as_inputs(element), None


def _are_labels(value: Any, inputs: Any) -> bool:
    whole = (torch.int64, torch.int32, torch.int16, torch.uint8)
    if not isinstance(value, Tensor) or value.dtype not in whole:
        return False
    masks = isinstance(inputs, Tensor) and inputs.dim() > 2 and value.shape[1:] == inputs.shape[2:]
    return value.dim() == 1 or masks


def _size(inputs: Inputs) -> int | None:
    """The batch size; None where inputs are other lists than of images, or have no tensor with a batch axis."""
    if (images := image_list(inputs)) is not None:
        return len(images)
    values = (*inputs.args, *inputs.kwargs.values())
    sizes = {len(tensor) for tensor in inputs.tensors() if tensor.dim()}
    return sizes.pop() if len(sizes) == 1 and not any(isinstance(value, list) for value in values) else None


class IterableSource:
    """Any iterable of batches; with several processes each takes every n-th row of every batch.

    An iterator, which can be read only once, is kept in memory. A loader with a DistributedSampler is sharded
    already and is taken as it is; ``set_epoch`` is called where the data or its sampler has it.
    """

    def __init__(self, data: Iterable[Any], seed: int = 0, rank: int = 0, processes: int = 1) -> None:
        self._data: Any = list(data) if isinstance(data, Iterator) else data
        self._seed = seed
        self._rank = rank
        self._processes = 1 if isinstance(getattr(data, "sampler", None), DistributedSampler) else processes
        self._started: dict[str, Tensor] = {}
        self._pending: dict[str, Tensor] = {}

    def steps(self) -> int | None:
        """The iterable's length, where it has one."""
        return len(self._data) if hasattr(self._data, "__len__") else None

    def epoch(self, number: int, first: int) -> Iterator[Batch]:
        """The batches from ``first`` on; those before it are read and let go.

        The global generators are set anew for the epoch and for each of its batches, so that shuffling and
        augmentation in this process do not depend on what was drawn before.

        Raises:
            UsageError: an element of the wrong kind.
        """
        for target in (self._data, getattr(self._data, "sampler", None)):
            set_epoch = getattr(target, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(number)
        self._start_generators()
        reseed(self._seed, number)
        elements, given = iter(self._data), 0
        for index in count():
            reseed(self._seed, number, index)
            element = next(elements, None)
            if element is None:
                return
            batch = self._share(*as_labelled(element))
            given += batch is not None
            if batch is not None and given > first:
                yield batch

    def state(self) -> dict[str, Tensor]:
        """The loader's own generators as they were when the epoch began."""
        return dict(self._started)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Generators to start the next epoch from."""
        self._pending = dict(state)

    def skipped(self) -> Tensor:
        """The caller's data reads its own files."""
        return torch.zeros(0)

    def examples_of_skipped(self) -> list[str]:
        """None."""
        return []

    def _start_generators(self) -> None:
        for name in ("generator", "sampler.generator"):
            found = self._data
            for part in name.split("."):
                found = getattr(found, part, None)
            if isinstance(found, torch.Generator):
                if name in self._pending:
                    found.set_state(self._pending.pop(name))
                self._started[name] = found.get_state()

    def _share(self, inputs: Inputs, labels: Labels | None) -> Batch | None:
        size = _size(inputs)
        if self._processes == 1 or size is None:
            return Batch(inputs, labels, 1 if size is None else size)
        if size < self._processes:
            # Every process sees the same size and leaves the batch out, so that none waits for another.
            return None

        mine = slice(self._rank, None, self._processes)

        def rows(tensor: Tensor) -> Tensor:
            return tensor[mine] if tensor.dim() else tensor

        count = len(range(size)[mine])
        if (images := image_list(inputs)) is not None:
            inputs = Inputs((images[mine], *inputs.args[1:]), inputs.kwargs)
        else:
            inputs = inputs.changed(rows)
        return Batch(inputs, None if labels is None else labels[mine], count)
