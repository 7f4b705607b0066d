"""Held-out inputs and what a network makes of them: accuracy with labels, closeness to the original without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DistributedSampler

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.models.images import ImageBatches
from convsurgeon.recovery.batches import UNLABELLED, Labels, as_labelled
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.history import Score
from convsurgeon.recovery.readout import Readout
from convsurgeon.transfer.agreement import agreement_of, first_classes
from convsurgeon.transfer.capture import evaluating

__all__ = ["Judge"]


class Judge:
    """Scores networks in eval mode, in the weights' own precision; each process looks at its own part of the inputs.

    ``evaluation`` yields batches as the training data does; None scores nothing.

    Raises:
        UsageError: it yields nothing.
    """

    def __init__(self, teacher: nn.Module, evaluation: Iterable[Any] | None, engine: Engine, readout: Readout) -> None:
        self._teacher = teacher
        self._readout = readout
        self._engine = engine
        self._data: Iterable[Any] | None = list(evaluation) if isinstance(evaluation, Iterator) else evaluation
        first = next(iter(self._data), None) if self._data is not None else None
        if self._data is not None and first is None:
            unread = self._data.skipped if isinstance(self._data, ImageBatches) else []
            why = f": none of the {len(unread)} images can be read, e.g. {unread[0]}" if unread else ""
            raise UsageError(f"evaluation yields no batch{why}; pass held-out inputs, or None.")
        labels = as_labelled(first)[1] if first is not None else None
        # Masks and boxes are not counted: closeness to the original says as much of networks that give them.
        self.labelled = isinstance(labels, Tensor) and labels.dim() == 1 and bool((labels != UNLABELLED).any())

    def score(self, model: nn.Module) -> Score:
        """Judge a network; all processes call it alike and get the same answer.

        Raises:
            UsageError: labels without a classifier's output [N, K].
        """
        if self._data is None:
            return Score()
        with evaluating(model, self._teacher):
            return self._accuracy(model) if self.labelled else self._closeness(model)

    def _accuracy(self, model: nn.Module) -> Score:
        counts, classes = torch.zeros(2, device=self._engine.device), 0
        for inputs, labels in self._share(model):
            output = inputs.call(model)
            if not isinstance(output, Tensor) or output.dim() != 2 or not isinstance(labels, Tensor):
                raise UsageError(
                    "accuracy needs labels in every batch and a classifier: one output tensor [N, classes]."
                )
            known = labels.to(output.device) != UNLABELLED
            right = (first_classes(output) == labels.to(output.device)) & known
            classes = output.shape[1]
            counts += torch.stack([right.sum(), known.sum()])
        right, seen = self._engine.total(counts).tolist()
        return Score(images=int(seen), accuracy=right / max(1, seen), classes=classes)

    def _closeness(self, model: nn.Module) -> Score:
        mine = self._share(model)
        first = next(mine, None)
        sums = torch.zeros(4, device=self._engine.device)
        if first is not None:
            each = ((inputs, *self._readout.pair(model, inputs)) for inputs, _ in chain([first], mine))
            found = agreement_of(each, held_back=True)
            sums += torch.tensor(
                [
                    found.images,
                    found.images * (found.top1 or 0.0),
                    found.images * (found.output_error or 0.0),
                    found.images * (found.top1 is not None),
                ],
                device=sums.device,
            )
        images, same, error, classified = self._engine.total(sums).tolist()
        agreed = same / images if classified else None
        return Score(images=int(images), agreement=agreed, output_error=error / max(1, images))

    def _share(self, model: nn.Module) -> Iterator[tuple[Inputs, Labels | None]]:
        rank, processes = self._engine.rank, self._engine.processes
        data: Iterable[Any] = self._data or ()
        if isinstance(data, ImageBatches) and processes > 1:
            data = data.among(data.files[rank::processes])
            rank, processes = 0, 1
        if isinstance(getattr(data, "sampler", None), DistributedSampler):
            rank, processes = 0, 1
        for number, element in islice(enumerate(data), rank, None, processes):
            inputs, labels = as_labelled(element)
            inputs.refuse_unfinite(f"evaluation batch {number + 1}", "nothing can be judged")
            yield inputs.like(model), labels
