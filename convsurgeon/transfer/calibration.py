"""Calibration inputs: unlabelled batches to fit on, and every eighth image held back to judge the result on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.batch_axis import channels_last, image_list
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.families.regression.samples import HELD_EVERY
from convsurgeon.transfer.elements import Elements

__all__ = [
    "HELD_BACK_EVERY",
    "Calibration",
    "first_images",
    "held_out",
    "images_in",
    "in_batches",
    "in_portions",
    "inputs_for",
    "listed_apart",
    "refuse_single",
    "rows_of",
]

HELD_BACK_EVERY = 8
# Of inputs, in one forward: the maps of larger ones outgrow what malloc keeps (32 MiB), and fresh pages for every layer
# take a third of the time.
PORTION_BYTES = 2 << 20


@dataclass(frozen=True)
class Calibration:
    """Inputs that can be read as often as needed, always the same in the same order.

    ``note`` says what of the source's elements is not used.
    """

    source: Iterable[Any]
    elements: Elements = field(default_factory=Elements)
    note: str | None = None

    @classmethod
    def of(cls, source: Iterable[Any] | Calibration, example: Inputs | None = None) -> Calibration:
        """Calibration from any iterable of model inputs; one that can be read only once is kept in memory.

        Each element is what the model takes: a tensor, a tuple of positional arguments or a dict. Where ``example``
        inputs are given it may also hold more, e.g. labels, if just one part of it is like them.

        Raises:
            UsageError: a single tensor or Inputs (pass a list of batches), nothing in it, elements of which several
                parts could be the model's input, or such as come in another order each time.
        """
        if isinstance(source, Calibration):
            return source
        refuse_single(source, "calibration")
        kept: Iterable[Any] = list(source) if isinstance(source, Iterator) else source
        first, elements = next(iter(kept), None), Elements(example)
        if first is None:
            raise UsageError("calibration holds no inputs; pass at least one batch.")
        if not isinstance(kept, (list, tuple)):
            _refuse_shuffled(elements.read(first), elements.read(next(iter(kept))))
        return cls(kept, elements, elements.left_out(first))

    def fitting(self, model: nn.Module) -> Iterator[Inputs]:
        """The images to fit on, on the model's device and in its dtype, as many at a time as run fast."""
        return in_portions(self.part(model, held_back=False))

    def held_back(self, model: nn.Module) -> Iterator[Inputs]:
        """Every eighth image; none where there are fewer than eight."""
        return in_portions(self.part(model, held_back=True))

    def count(self) -> int:
        """The number of images, held back or not."""
        return sum(images_in(self.elements.read(element)) for element in self.source)

    def part(self, model: nn.Module, *, held_back: bool) -> Iterator[Inputs]:
        """One or the other in the batches that were given."""
        first = 0
        for number, element in enumerate(self.source, 1):
            inputs = self.elements.read(element)
            inputs.refuse_unfinite(f"calibration batch {number}", "nothing can be fitted")
            images = images_in(inputs)
            numbers = torch.arange(first, first + images)
            wanted = (numbers % HELD_BACK_EVERY == HELD_BACK_EVERY - 1) == held_back
            first += images
            if wanted.all():
                yield inputs.like(model)
            elif wanted.any():
                yield rows_of(inputs, wanted.nonzero()[:, 0]).like(model)


def refuse_single(source: object, name: str) -> None:
    """Refuse what can be iterated over and holds no batches: a tensor's parts are images.

    Raises:
        UsageError: with what was expected.
    """
    if isinstance(source, (Tensor, Inputs, dict, str)):
        raise UsageError(
            f"{name} is a {type(source).__name__}; expected an iterable of inputs, e.g. [images] or a list of batches."
        )


def _refuse_shuffled(first: Inputs, again: Inputs) -> None:
    """A layer's inputs are read in one pass and what should come out in another; what one holds back stays unseen."""
    pairs = list(zip(first.tensors(), again.tensors(), strict=False))
    if any(a.shape != b.shape or bool(((a != b) & ~(a.isnan() & b.isnan())).any()) for a, b in pairs):
        raise UsageError(
            "the calibration inputs come in another order each time they are read, and they are read several times; "
            "pass a loader with shuffle=False and no random transform, or a list of batches, e.g. list(loader)."
        )


def first_images(batches: Iterable[Inputs], count: int) -> Iterator[Inputs]:
    """The first ``count`` images, the last batch cut."""
    left = count
    for inputs in batches:
        if left <= 0:
            return
        images = images_in(inputs)
        # Some forwards squeeze a batch of one.
        yield inputs if images <= left else rows_of(inputs, torch.arange(max(2, left)))
        left -= images


def held_out(batches: Iterable[Inputs], held: bool = True) -> Iterator[Inputs]:
    """The images, of those to fit on, that `Sampler` holds out to judge fits by; or the others."""
    first = 0
    for inputs in batches:
        images = images_in(inputs)
        numbers = torch.arange(first, first + images)
        first += images
        wanted = ((numbers % HELD_EVERY == HELD_EVERY - 1) == held).nonzero()[:, 0]
        if len(wanted):
            # Some forwards squeeze a batch of one, so one of several comes twice.
            yield rows_of(inputs, wanted if len(wanted) > 1 else wanted.repeat(2)) if images > 1 else inputs


def in_portions(batches: Iterable[Inputs]) -> Iterator[Inputs]:
    """The same images, on a CPU a few at a time, of large ones two at least: some forwards squeeze a batch of one."""
    for inputs in batches:
        images, tensors = images_in(inputs), inputs.tensors()
        large = sum(tensor.nbytes for tensor in tensors if tensor.device.type == "cpu")
        portions = min(math.ceil(large / PORTION_BYTES), images // 2)
        if portions < 2:
            yield inputs
        else:
            yield from (rows_of(inputs, rows) for rows in torch.arange(images).tensor_split(portions))


def in_batches(batches: Iterable[Inputs], size: int) -> Iterator[Inputs]:
    """The same images in batches of one size, for what takes no other; what is left of each batch is dropped."""
    for inputs in batches:
        for start in range(0, images_in(inputs) - size + 1, size):
            yield inputs if images_in(inputs) == size else rows_of(inputs, torch.arange(start, start + size))


def inputs_for(fitted: int) -> int:
    """The fewest images that leave ``fitted`` of them to fit on, once every eighth is held back."""
    return fitted + max(0, fitted - 1) // (HELD_BACK_EVERY - 1)


def images_in(inputs: Inputs) -> int:
    """The images of a list, or the common batch size of all tensors; 1 where there is none, which stays whole."""
    if (images := _listed(inputs)) is not None:
        return len(images)
    sizes = {len(tensor) if tensor.dim() > 1 else 0 for tensor in inputs.tensors()}
    size = sizes.pop() if len(sizes) == 1 else 0
    whole = any(isinstance(value, list) for value in (*inputs.args, *inputs.kwargs.values()))
    return 1 if whole or size == 0 else size


def rows_of(inputs: Inputs, rows: Tensor) -> Inputs:
    """Some images of a batch or list, by their numbers [N]."""
    if (images := _listed(inputs)) is not None:
        return Inputs(([images[row] for row in rows.tolist()], *inputs.args[1:]), inputs.kwargs)

    def pick(tensor: Tensor) -> Tensor:
        picked = tensor[rows.to(tensor.device)]
        # Kernels choose by the memory format, which indexing loses.
        return picked.contiguous(memory_format=torch.channels_last) if channels_last(tensor) else picked

    return inputs.changed(pick)


def listed_apart(inputs: Inputs) -> Iterator[Inputs]:
    """Each image of a list by itself, since they differ in size; a batch as it is."""
    if _listed(inputs) is None:
        yield inputs
        return
    for number in range(images_in(inputs)):
        yield rows_of(inputs, torch.tensor([number]))


def _listed(inputs: Inputs) -> list[Tensor] | None:
    """The list of images that is all that a detector is given."""
    images = image_list(inputs)
    return images if images is not None and len(images) == len(inputs.tensors()) else None
