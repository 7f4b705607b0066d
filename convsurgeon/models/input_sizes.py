"""Example inputs from a shape: one tensor, a list of images, or two frames; random, from a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.machine_memory import require_room

__all__ = ["Layout", "assumption", "parse_shape", "random_inputs"]

# what a model takes: [N, C, H, W]; [N, C, T, H, W]; a list of N [C, H, W]; two [N, C, H, W]; any tensor
Layout = Literal["image", "video", "image list", "frame pair", "any"]

_RANKS: dict[Layout, int] = {"image": 4, "video": 5, "image list": 4, "frame pair": 4}
_EXAMPLES: dict[Layout, str] = {"video": "N,C,T,H,W such as 1,3,16,112,112"}
_IMAGE_EXAMPLE = "N,C,H,W such as 1,3,224,224"


def parse_shape(input_shape: str | Sequence[int]) -> tuple[int, ...]:
    """Read ``"1,3,224,224"`` or ``(1, 3, 224, 224)``.

    Raises:
        UsageError: no list of positive whole numbers.
    """
    words = input_shape.split(",") if isinstance(input_shape, str) else [str(size) for size in input_shape]
    sizes = [word.strip() for word in words]
    if not sizes or not all(re.fullmatch(r"[0-9]{1,9}", size) and int(size) > 0 for size in sizes):
        raise UsageError(
            f"the input shape {_shown(input_shape)} is not a list of positive whole numbers of at most nine digits; "
            f"expected {_IMAGE_EXAMPLE}."
        )
    return tuple(int(size) for size in sizes)


def random_inputs(shape: tuple[int, ...], layout: Layout, seed: int) -> Inputs:
    """Fill a shape with uniform numbers in [0, 1) from ``seed``, arranged as the model takes them.

    Raises:
        UsageError: a shape of another rank than the layout's, or beyond the memory at hand.
    """
    rank = _RANKS.get(layout, len(shape))
    if len(shape) != rank:
        raise UsageError(
            f"the input shape {_shown(shape)} has {len(shape)} numbers; this model takes {rank}: "
            f"{_EXAMPLES.get(layout, _IMAGE_EXAMPLE)}."
        )
    require_room(shape)
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(shape, generator=generator, device="cpu")
    if layout == "image list":
        return Inputs(args=(list(first.unbind()),))
    if layout == "frame pair":
        return Inputs(args=(first, torch.rand(shape, generator=generator, device="cpu")))
    return Inputs(args=(first,))


def assumption(spec: str, inputs: Inputs) -> str:
    """What to say where nothing says what a model is called with, and these inputs were taken."""
    return (
        f"nothing says what {spec} is called with; {inputs.describe()} is ASSUMED, and all MACs and times are for it. "
        "Pass --input N,C,H,W (input = [N, C, H, W] in a file), or give the factory an attribute example_inputs"
    )


def _shown(shape: str | Sequence[int]) -> str:
    return repr(shape) if isinstance(shape, str) else ",".join(map(str, shape))
