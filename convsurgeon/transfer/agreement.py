"""How far two models agree on the same inputs: relative output error, and the same first class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convsurgeon.base.batch_axis import image_list
from convsurgeon.base.inputs import Inputs, tensors_in
from convsurgeon.transfer.calibration import images_in

__all__ = ["Agreement", "Comparison", "agreement", "agreement_of", "first_classes", "noise_note", "outputs_of"]

TINY = 1e-30
# Of an output's variance: order of summation on an accelerator stays far below.
_STEADY = 1e-4


@dataclass(frozen=True)
class Agreement:
    """Over ``images`` inputs. ``output_error`` = ‖o − ô‖² / ‖o − mean(o)‖² over all output tensors of equal shape.

    ``top1`` is the share of images with the same largest class, where the output is one tensor [N, classes].
    ``held_back`` tells whether these images were kept out of the fits. None where the outputs can't be compared.
    """

    images: int
    output_error: float | None
    top1: float | None
    held_back: bool


@torch.no_grad()
def agreement(
    original: Callable[..., Any], converted: Callable[..., Any], batches: Iterable[Inputs], *, held_back: bool
) -> Agreement:
    """Run both models (in eval mode), or what computes as they do, on the batches and compare."""
    each = ((inputs, outputs_of(inputs.call(original)), outputs_of(inputs.call(converted))) for inputs in batches)
    return agreement_of(each, held_back=held_back)


def agreement_of(batches: Iterable[tuple[Inputs, list[Tensor], list[Tensor]]], *, held_back: bool) -> Agreement:
    """Compare what the original returned for each batch with what the other network did."""
    images, rows, same, classified = 0, 0, 0, True
    leaves: dict[int, _Leaf] = defaultdict(_Leaf)
    for inputs, wanted, found in batches:
        # Not those of the outputs: a detector's are as many as it finds.
        images += images_in(inputs)
        for i, (y, other) in enumerate(zip(wanted, found, strict=False)):
            if y.shape == other.shape:
                leaves[i].add(y.double(), other.double())
        classified = classified and _classes(inputs, wanted) and len(found) == 1 and found[0].shape == wanted[0].shape
        if classified:
            rows += len(wanted[0])
            classes = first_classes(found[0])
            same += int(((classes == first_classes(wanted[0])) & (classes >= 0)).sum())
    error, spread = sum(leaf.error for leaf in leaves.values()), sum(leaf.spread for leaf in leaves.values())
    return Agreement(
        images=images,
        output_error=error / spread if spread > TINY else None,
        top1=same / rows if classified and rows else None,
        held_back=held_back,
    )


def _classes(inputs: Inputs, outputs: list[Tensor]) -> bool:
    """Whether the outputs are one tensor [N, classes]; of a list of images, N are the images, not what is on them."""
    if len(outputs) != 1 or outputs[0].dim() != 2 or outputs[0].shape[1] == 1:
        return False
    images = image_list(inputs)
    return images is None or len(images) == len(outputs[0])


def first_classes(outputs: Tensor) -> Tensor:
    """The largest class of each row [N, classes]; -1, which is none, where a row holds NaN."""
    return outputs.argmax(1).masked_fill(outputs.isnan().any(1), -1)


def noise_note(model: Callable[..., Any], batches: Iterable[Inputs]) -> str | None:
    """What to say of a model that differs from itself on the same inputs; None where it does not."""
    own = agreement(model, model, batches, held_back=False).output_error
    if own is None or own <= _STEADY:
        return None
    return (
        f"the ORIGINAL itself differs by {own:.1%} between two runs on the same inputs: something in its forward is "
        "random in eval mode, too (dropout with training=True?), and stands in every error and agreement"
    )


@dataclass
class _Leaf:
    """Sums over one of the outputs."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    error: float = 0.0

    def add(self, y: Tensor, other: Tensor) -> None:
        self.count += y.numel()
        self.total += float(y.sum())
        self.squares += float(y.square().sum())
        self.error += float((y - other).square().sum())

    @property
    def spread(self) -> float:
        return max(0.0, self.squares - self.total**2 / max(1, self.count))


def outputs_of(value: object) -> list[Tensor]:
    """The floating tensors of what a model returns."""
    return [tensor for tensor in tensors_in(value) if tensor.is_floating_point()]


class Comparison:
    """One site's outputs in two models, collected call by call and settled batch by batch."""

    def __init__(self, taken_up: tuple[Tensor | None, Tensor | None], outputs: Tensor | None = None) -> None:
        """``outputs`` [n] of the original are the ones that the converted model still has; None for all."""
        self._scale, self._shift = taken_up
        self._outputs = outputs
        self._wanted: list[Tensor] = []
        self._found: list[Tensor] = []
        self._count = 0
        self._total = self._squares = torch.zeros(1, dtype=torch.float64)
        self._error = 0.0

    def want(self, _x: Tensor, y: Tensor) -> None:
        """Keep one call's output [N, C, …] of the original."""
        self._wanted.append(y.clone() if self._outputs is None else y[:, self._outputs.to(y.device)])

    def find(self, _x: Tensor, y: Tensor) -> None:
        """Keep one call's output of the converted model."""
        self._found.append(y.clone())

    def settle(self) -> None:
        """Compare what was kept since the last time, and let go of it."""
        for wanted, found in zip(self._wanted, self._found, strict=False):
            if wanted.shape == found.shape:
                self._add(wanted.movedim(1, 0).flatten(1).double().cpu(), found.movedim(1, 0).flatten(1).double().cpu())
        self._wanted.clear()
        self._found.clear()

    def _add(self, wanted: Tensor, found: Tensor) -> None:
        if self._scale is not None:
            found = found * self._scale[:, None]
        if self._shift is not None:
            found = found + self._shift[:, None]
        self._count += wanted.shape[1]
        self._total = self._total + wanted.sum(1)
        self._squares = self._squares + wanted.square().sum(1)
        self._error += float((wanted - found).square().sum())

    @property
    def error(self) -> float | None:
        """‖y − ŷ‖² / ‖y − mean(y)‖²; None without outputs that vary."""
        spread = float((self._squares - self._total.square() / max(1, self._count)).sum())
        return self._error / spread if spread > TINY else None
