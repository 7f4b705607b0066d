"""Whether calibration inputs differ at all: fits on empty or equal ones look perfect and are worth nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.transfer.calibration import images_in, listed_apart

__all__ = ["Variety"]

# Of an input's largest value; rounding in a preprocessing stays below.
FLAT = 1e-6


class Variety:
    """Counts, while the inputs go by, those that are one value all over (channel by channel), and equal ones."""

    def __init__(self) -> None:
        self.inputs = self.flat = self.repeated = 0
        self._first: list[Tensor] = []

    def watch(self, batches: Iterable[Inputs]) -> Iterator[Inputs]:
        """The same batches, counted as they go by."""
        for inputs in batches:
            for part in listed_apart(inputs):
                self._look(part)
            yield inputs

    def _look(self, inputs: Inputs) -> None:
        images = images_in(inputs)
        maps = [_maps(tensor, images) for tensor in inputs.tensors() if tensor.is_floating_point()]
        if not maps:
            return
        self._first = self._first or [each[:1].clone() for each in maps]
        self.inputs += images
        self.flat += int(torch.stack([_flat(each).cpu() for each in maps]).all(0).sum())
        pairs = zip(maps, self._first, strict=False)
        equal = [_equal(each, first) for each, first in pairs]
        self.repeated += int(torch.stack(equal).all(0).sum())

    def refuse_none(self) -> None:
        """Refuse inputs that show nothing.

        Raises:
            UsageError: every input is flat, and all are equal.
        """
        if self.inputs and self.flat == self.repeated == self.inputs:
            raise UsageError(
                f"{self.inputs:,} calibration inputs without any difference, of one value all over: nothing can be "
                "fitted on them. Pass real ones, prepared as the model expects them, or none."
            )

    def note(self) -> str | None:
        """What is odd; None where most inputs are like inputs."""
        if self.inputs > 1 and self.repeated == self.inputs:
            return f"all {self.inputs:,} calibration inputs that were fitted on are equal: the fits know this one only"
        if 2 * self.flat > self.inputs:
            return (
                f"{self.flat:,} of {self.inputs:,} calibration inputs are of one value all over, so that the fits saw "
                "little: check the preprocessing"
            )
        return None


def _maps(tensor: Tensor, images: int) -> Tensor:
    """[N, channels, positions], also of an image without a batch axis, and of vectors."""
    batched = tensor if tensor.dim() > 1 and len(tensor) == images else tensor[None]
    return batched.flatten(2) if batched.dim() > 2 else batched.reshape(len(batched), 1, -1)


def _flat(maps: Tensor) -> Tensor:
    """Which inputs [N] have no spread in any channel."""
    low, high = maps.amin(2), maps.amax(2)
    return (high - low <= FLAT * torch.maximum(high.abs(), low.abs())).all(1)


def _equal(maps: Tensor, first: Tensor) -> Tensor:
    """Which inputs [N] are the first one again."""
    same = maps.shape[1:] == first.shape[1:]
    return (maps == first).flatten(1).all(1).cpu() if same else torch.zeros(len(maps), dtype=torch.bool)
