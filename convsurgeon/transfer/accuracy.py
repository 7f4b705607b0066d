"""Top-1 accuracy on labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.proportion import no_better_than_chance
from convsurgeon.transfer.agreement import first_classes
from convsurgeon.transfer.capture import evaluating

__all__ = ["CHANCE", "Accuracy", "top1_accuracy"]

# What is said of an original that is as good as guessing, which hides all that a conversion may break.
CHANCE = (
    "the ORIGINAL is no better than chance among {classes} classes on the labelled images, so these accuracies say "
    "nothing: its images want another preparation (--mean, --std, --resize, --crop) or another order of classes "
    "(--classes), or its weights are untrained"
)


@dataclass(frozen=True)
class Accuracy:
    """``top1``: the share of ``images`` whose largest output, of ``classes``, is the label's."""

    images: int
    top1: float
    classes: int

    @property
    def is_chance(self) -> bool:
        """Whether guessing could well have been right as often."""
        return no_better_than_chance(self.top1, self.images, self.classes)


def top1_accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Accuracy:
    """Top-1 accuracy on labelled batches (inputs [N, …], labels [N]).

    The model runs in eval mode and is put back into the mode it had.

    Raises:
        UsageError: no batch, inputs that are not finite, or outputs that are not [N, classes].
    """
    parameter = next(model.parameters(), torch.empty(0))
    right = seen = classes = 0
    with evaluating(model):
        for number, (inputs, labels) in enumerate(batches, 1):
            as_inputs(inputs).refuse_unfinite(f"evaluation batch {number}", "nothing can be judged")
            output = model(inputs.to(parameter.device, parameter.dtype))
            if not isinstance(output, Tensor) or output.dim() != 2:
                raise UsageError("accuracy needs a classifier: one output tensor [N, classes].")
            right += int((first_classes(output) == labels.to(output.device)).sum())
            seen, classes = seen + len(labels), output.shape[1]
    if seen == 0:
        raise UsageError("there is no readable image to evaluate on.")
    return Accuracy(seen, right / seen, classes)
