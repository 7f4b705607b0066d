"""Whether a folder of images can be what a model is called with, and of what shape it wants them."""

from __future__ import annotations

from torch import Tensor

from convsurgeon.base.batch_axis import image_list
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs

__all__ = ["image_shape", "require_floats"]


def image_shape(inputs: Inputs) -> tuple[int, ...]:
    """Of the one tensor that a model is called with: [N, C, H, W]; where it takes a list of images, of one: [C, H, W].

    Raises:
        UsageError: the model is called with anything else, in whose place images can't be put.
    """
    if not inputs.kwargs and len(inputs.args) == 1:
        if isinstance(inputs.args[0], Tensor):
            return tuple(inputs.args[0].shape)
        if (images := image_list(inputs)) is not None:
            return tuple(images[0].shape)
    raise UsageError(
        f"a folder of images can't stand for what the model is called with, {_words(inputs)}; expected one tensor "
        "[N, 1, H, W] or [N, 3, H, W], or a list of images. From Python, pass calibration= any iterable of inputs."
    )


def require_floats(inputs: Inputs) -> None:
    """Refuse whole numbers, in whose place images of 0…1 would be all but black.

    Raises:
        UsageError: the model is called with a tensor of another kind than floats.
    """
    for tensor in inputs.tensors():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(
                f"the model is called with {kind} numbers, and images of a folder become floats in 0…1. Give its "
                f"factory an attribute transform, a function from a PIL image to a {kind} tensor [C, H, W]."
            )


def _words(inputs: Inputs) -> str:
    parts = [type(value).__name__ for value in inputs.args]
    parts += [f"{name}= a {type(value).__name__}" for name, value in inputs.kwargs.items()]
    return f"{', '.join(parts) or 'nothing'} ({inputs.describe()})"
