"""Calibration inputs: unlabelled batches to fit on, and every eighth image held back to judge the result on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

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
    "inputs_for",
    "refuse_single",
    "rows_of",
]

HELD_BACK_EVERY = 8


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
            UsageError: a single tensor or Inputs (pass a list of batches), nothing in it, or elements of which several
                parts could be the model's input.
        """
        if isinstance(source, Calibration):
            return source
        refuse_single(source, "calibration")
        kept: Iterable[Any] = list(source) if isinstance(source, Iterator) else source
        first, elements = next(iter(kept), None), Elements(example)
        if first is None:
            raise UsageError("calibration holds no inputs; pass at least one batch.")
        return cls(kept, elements, elements.left_out(first))

    def fitting(self, model: nn.Module) -> Iterator[Inputs]:
        """The images to fit on, on the model's device and in its dtype."""
        return self._part(model, held_back=False)

    def held_back(self, model: nn.Module) -> Iterator[Inputs]:
        """Every eighth image; none where there are fewer than eight."""
        return self._part(model, held_back=True)

    def count(self) -> int:
        """The number of images, held back or not."""
        return sum(images_in(self.elements.read(element)) for element in self.source)

    def _part(self, model: nn.Module, *, held_back: bool) -> Iterator[Inputs]:
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


def first_images(batches: Iterable[Inputs], count: int) -> Iterator[Inputs]:
    """The first ``count`` images, the last batch cut."""
    left = count
    for inputs in batches:
        if left <= 0:
            return
        images = images_in(inputs)
        yield inputs if images <= left else rows_of(inputs, torch.arange(left))
        left -= images


def held_out(batches: Iterable[Inputs]) -> Iterator[Inputs]:
    """The images, of those to fit on, that `Sampler` holds out to judge fits by."""
    first = 0
    for inputs in batches:
        images = images_in(inputs)
        numbers = torch.arange(first, first + images)
        first += images
        held = (numbers % HELD_EVERY == HELD_EVERY - 1).nonzero()[:, 0]
        if len(held):
            yield rows_of(inputs, held) if images > 1 else inputs


def in_batches(batches: Iterable[Inputs], size: int) -> Iterator[Inputs]:
    """The same images in batches of one size, for what takes no other; what is left of each batch is dropped."""
    for inputs in batches:
        for start in range(0, images_in(inputs) - size + 1, size):
            yield inputs if images_in(inputs) == size else rows_of(inputs, torch.arange(start, start + size))


def inputs_for(fitted: int) -> int:
    """The fewest images that leave ``fitted`` of them to fit on, once every eighth is held back."""
    return fitted + max(0, fitted - 1) // (HELD_BACK_EVERY - 1)


def images_in(inputs: Inputs) -> int:
    """The common batch size of all tensors; 1 where there is none, so that the batch stays whole."""
    sizes = {len(tensor) if tensor.dim() > 1 else 0 for tensor in inputs.tensors()}
    size = sizes.pop() if len(sizes) == 1 else 0
    whole = any(isinstance(value, list) for value in (*inputs.args, *inputs.kwargs.values()))
    return 1 if whole or size == 0 else size


def rows_of(inputs: Inputs, rows: Tensor) -> Inputs:
    """Some images of a batch, by their numbers [N]."""
    return inputs.changed(lambda tensor: tensor[rows.to(tensor.device)])
