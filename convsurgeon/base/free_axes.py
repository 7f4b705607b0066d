"""Axes of the inputs that a file leaves free: their words, where they are, and the same inputs at other sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import torch

from convsurgeon.base.batch_axis import batch_of, image_list, rebatched
from convsurgeon.base.errors import UsageError, did_you_mean
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.machine_memory import require_room

__all__ = [
    "AXES",
    "Axis",
    "FreeAxes",
    "axes_of",
    "axes_to_try",
    "free_in_words",
    "parse_axes",
    "size_to_trace",
    "sizes_to_compare",
]

Axis = Literal["batch", "height", "width"]
AXES: tuple[Axis, ...] = get_args(Axis)
FreeAxes = tuple[Axis, ...]

_NONE = "none"
# Networks want multiples of what they halve; few halve seven times.
_LARGEST_STEP = 128


def parse_axes(words: str | Iterable[str]) -> FreeAxes:
    """Read ``batch,height,width`` or a part of it; ``none`` or nothing is no axis.

    Raises:
        UsageError: another word.
    """
    found = [word.strip() for word in words.split(",")] if isinstance(words, str) else list(words)
    if found in ([_NONE], []):
        return ()
    if unknown := [word for word in found if word not in AXES]:
        raise UsageError(
            f"'{unknown[0]}' is no axis to leave free; expected some of {', '.join(AXES)}, or {_NONE} alone."
            f"{did_you_mean(unknown[0], AXES)}"
        )
    return tuple(axis for axis in AXES if axis in found)


def axes_of(inputs: Inputs, free: FreeAxes) -> Callable[[torch.Tensor], dict[int, Axis]]:
    """Tells of each tensor of the inputs which of its axes are free.

    The batch is the first axis of all that have the batch's length there; height and width are the last two of all
    that share the image's [..., H, W].

    Raises:
        UsageError: inputs without such an axis.
    """
    if "batch" in free and image_list(inputs) is not None:
        raise UsageError("a list of images has no batch axis, so that the batch size can't be free.")
    batch, size = batch_of(inputs) if "batch" in free else None, _image_size(inputs)
    if size is None and {"height", "width"} & set(free):
        raise UsageError(
            f"the inputs {inputs.describe()} hold no image [N, C, H, W], so that height and width can't be free."
        )

    def axes(tensor: torch.Tensor) -> dict[int, Axis]:
        found: dict[int, Axis] = {}
        if batch is not None and tensor.dim() > 0 and tensor.shape[0] == batch:
            found[0] = "batch"
        if tensor.dim() > 2 and tuple(tensor.shape[-2:]) == size:
            places: dict[Axis, int] = {"height": tensor.dim() - 2, "width": tensor.dim() - 1}
            found |= {place: axis for axis, place in places.items() if axis in free}
        return found

    return axes


def _at_another_size(inputs: Inputs, free: FreeAxes, batch: int, steps: tuple[int, int]) -> Inputs:
    """The inputs with ``batch`` images, and so many steps higher and wider, as far as these axes are free.

    A step is the largest power of two, up to 128, in the image's own height or width. Values are repeated.
    """
    axes = axes_of(inputs, free)
    grown: dict[Axis, int] = {}
    if (size := _image_size(inputs)) is not None:
        grown = {
            axis: length + count * _step(length)
            for axis, length, count in zip(AXES[1:], size, steps, strict=True)
            if axis in free
        }

    def resized(tensor: torch.Tensor) -> torch.Tensor:
        places = {place: grown[axis] for place, axis in axes(tensor).items() if axis in grown}
        require_room([places.get(place, length) for place, length in enumerate(tensor.shape)])
        for place, length in places.items():
            tensor = tensor.index_select(place, torch.arange(length, device=tensor.device) % tensor.shape[place])
        return tensor

    # Sizes first: another batch would change what counts as an image.
    larger = inputs.changed(resized)
    return rebatched(larger, batch) if "batch" in free else larger


def axes_to_try(free: FreeAxes | None) -> tuple[FreeAxes, ...]:
    """Those that were asked for, or else the batch and then none."""
    return (("batch",), ()) if free is None else (free,)


def free_in_words(free: FreeAxes) -> str:
    """For example, "any batch size, height, width"."""
    names = ["batch size" if axis == "batch" else axis for axis in free]
    return f"any {', '.join(names)}" if names else "the example's sizes only"


def size_to_trace(inputs: Inputs, free: FreeAxes) -> Inputs:
    """Inputs to export from: a batch of one, or a height that is the width, would be taken for a rule."""
    return _at_another_size(inputs, free, 2, (1, 2)) if free else inputs


def sizes_to_compare(inputs: Inputs, free: FreeAxes) -> Sequence[Inputs]:
    """The inputs, and the same at another size in every free axis."""
    return (inputs, _at_another_size(inputs, free, 3, (2, 1))) if free else (inputs,)


def _image_size(inputs: Inputs) -> tuple[int, int] | None:
    """Height and width of the first image: [N, C, ..., H, W], or [C, H, W] in a list."""
    images: Sequence[Any] = image_list(inputs) or [tensor for tensor in inputs.tensors() if tensor.dim() > 3]
    return (int(images[0].shape[-2]), int(images[0].shape[-1])) if images else None


def _step(length: int) -> int:
    return min(length & -length, _LARGEST_STEP)
