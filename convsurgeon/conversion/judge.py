"""Networks judged against their original, input by input, on inputs that nothing was fitted on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.progress import Progress
from convsurgeon.base.proportion import no_better_than_chance
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.unseen import Unseen, UnseenBatch
from convsurgeon.report.record import Fidelity
from convsurgeon.transfer.accuracy import CHANCE
from convsurgeon.transfer.agreement import first_classes, outputs_of
from convsurgeon.transfer.capture import evaluating

__all__ = ["Judge", "Judgement"]

# Of the original's outputs, so that it need not run again for each network.
_KEPT_BYTES = 1 << 28


@dataclass(frozen=True)
class Judgement:
    """One network beside its original.

    Attributes:
        inputs: how many both saw.
        agreed: how many of them get the same largest class; None where the output is not one tensor [N, classes].
        errors, spreads: ‖o − ô‖² and ‖o − mean(o)‖² of each input, over all output tensors of equal shape.
        classes: how many there are; 0 where that can't be said.
        labelled: how many inputs have a label.
        right: of these, how many the original, and how many the network gets right.
        gained, lost: how many only the network, and only the original gets right.
    """

    inputs: int
    agreed: int | None
    errors: NDArray[np.float64]
    spreads: NDArray[np.float64]
    classes: int = 0
    labelled: int = 0
    right: tuple[int, int] = (0, 0)
    gained: int = 0
    lost: int = 0

    @cached_property
    def output_error(self) -> float | None:
        """Σ errors / Σ spreads; None where the outputs do not vary or can't be compared."""
        spread = float(self.spreads.sum())
        return float(self.errors.sum()) / spread if spread > 0 else None

    def fidelity(self, fitted: int) -> Fidelity:
        """The judgement as a report has it; ``fitted`` inputs were fitted on."""
        before, after = (right / self.labelled if self.labelled else None for right in self.right)
        return Fidelity(
            fitted=fitted,
            inputs=self.inputs,
            output_error=self.output_error,
            top1_agreement=None if self.agreed is None else self.agreed / self.inputs,
            evaluated=self.labelled,
            accuracy_before=before,
            accuracy_after=after,
        )

    def doubts(self) -> list[str]:
        """Why the accuracies say nothing, if so: the original is no better than chance."""
        if not self.labelled:
            return []
        chance = no_better_than_chance(self.right[0] / self.labelled, self.labelled, self.classes)
        return [CHANCE.format(classes=self.classes)] if chance else []


class Judge:
    """Runs networks on the same unseen inputs as their original, whose outputs are kept as far as memory allows."""

    def __init__(self, patient: Patient, data: Data, progress: Progress) -> None:
        """Run the original; ``original`` is its own judgement, with all inputs agreed.

        Raises:
            UsageError: see ``Unseen``, or inputs that are not finite.
        """
        self._unseen, self._reference = Unseen(patient, data), duplicate(patient.model)
        self._outputs: dict[bytes, list[Tensor]] = {}
        self._kept_bytes = 0
        self._progress, self._batches = progress, 1
        self._digest = hashlib.sha256(self._unseen.fitted_on)
        self.original = self.judged(None)

    @property
    def digest(self) -> str:
        """A hash of all inputs, to fit and to judge on, and of their labels."""
        return self._digest.hexdigest()

    def judged(self, network: nn.Module | None) -> Judgement:
        """A network's judgement; None is the original."""
        name = "the original" if network is None else "the converted network"
        batches, tally, number = self._batches, _Tally(), 0
        with evaluating(self._reference, *([] if network is None else [network])):
            for number, batch in enumerate(self._unseen, 1):
                self._progress("judging", min(number - 1, batches), batches, name)
                if network is None:
                    self._digest.update(b"".join(batch.keys))
                    self._digest.update(b"" if batch.labels is None else repr(batch.labels.tolist()).encode())
                wanted = self._original(batch)
                tally.add(wanted, wanted if network is None else outputs_of(batch.inputs.call(network)), batch)
        self._batches = max(1, number)
        self._progress("judging", self._batches, self._batches, "")
        return tally.judgement()

    def _original(self, batch: UnseenBatch) -> list[Tensor]:
        """The original's output tensors, as it gave them before or gives them now."""
        rows = [self._outputs[key] for key in batch.keys if key in self._outputs]
        if len(rows) == len(batch.keys):
            return [torch.stack(leaf) for leaf in zip(*rows, strict=True)]
        leaves = outputs_of(batch.inputs.call(self._reference))
        if _apart(leaves, len(batch.keys)):
            size = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
            if self._kept_bytes + size <= _KEPT_BYTES:
                self._kept_bytes += size
                split = zip(*(leaf.clone().unbind() for leaf in leaves), strict=True)
                self._outputs.update(zip(batch.keys, map(list, split), strict=True))
        return leaves


@dataclass
class _Leaf:
    """Sums over one of the output tensors, for each input."""

    errors: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    totals: list[Tensor] = field(default_factory=list)
    counts: list[Tensor] = field(default_factory=list)

    def add(self, wanted: Tensor, found: Tensor) -> None:
        """Count one batch: [inputs, values] of both networks."""
        self.errors.append((wanted - found).square().sum(1).cpu())
        self.squares.append(wanted.square().sum(1).cpu())
        self.totals.append(wanted.sum(1).cpu())
        self.counts.append(torch.full((len(wanted),), wanted.shape[1], dtype=torch.float64))

    def summed(self) -> tuple[Tensor, Tensor]:
        """Squared errors, and squared distances from the mean over all inputs."""
        errors, squares, totals, counts = map(torch.cat, (self.errors, self.squares, self.totals, self.counts))
        mean = totals.sum() / counts.sum().clamp(min=1)
        return errors, (squares - 2 * mean * totals + counts * mean.square()).clamp(min=0)


class _Tally:
    """What adds up over the batches."""

    def __init__(self) -> None:
        self.inputs = self.agreed = self.classes = self.labelled = self.gained = self.lost = 0
        self.right = [0, 0]
        self.classified = True
        self.leaves: dict[int, _Leaf] = {}

    def add(self, wanted: Sequence[Tensor], found: Sequence[Tensor], batch: UnseenBatch) -> None:
        count = len(batch.keys)
        self.inputs += count
        for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
            # Every leaf has a row for every input, so that they add up.
            units = count if _apart([one], count) else 1
            same = one.shape == other.shape
            rows = one.double().reshape(units, -1) if same else torch.zeros(units, 0, dtype=torch.float64)
            others = other.double().reshape(units, -1) if same else rows
            self.leaves.setdefault(number, _Leaf()).add(rows, others)
        self.classified &= len(wanted) == len(found) == 1 and wanted[0].shape == found[0].shape
        self.classified = self.classified and wanted[0].dim() == 2 and wanted[0].shape[1] > 1
        if self.classified:
            self._classes(first_classes(wanted[0]), first_classes(found[0]), batch.labels)
            self.classes = wanted[0].shape[1]

    def _classes(self, wanted: Tensor, found: Tensor, labels: Tensor | None) -> None:
        self.agreed += int(((wanted == found) & (found >= 0)).sum())
        if labels is None:
            return
        before, after = (classes == labels.to(classes.device) for classes in (wanted, found))
        self.labelled += len(labels)
        self.right[0] += int(before.sum())
        self.right[1] += int(after.sum())
        self.gained += int((after & ~before).sum())
        self.lost += int((before & ~after).sum())

    def judgement(self) -> Judgement:
        sums = [leaf.summed() for leaf in self.leaves.values()]
        alike = sums and len({len(errors) for errors, _ in sums}) == 1
        empty = torch.zeros(0, dtype=torch.float64)
        errors, spreads = (torch.stack(part).sum(0) for part in zip(*sums, strict=True)) if alike else (empty, empty)
        known = self.classified and self.inputs > 0
        return Judgement(
            inputs=self.inputs,
            agreed=self.agreed if known else None,
            errors=errors.numpy(),
            spreads=spreads.numpy(),
            classes=self.classes if known else 0,
            labelled=self.labelled if known else 0,
            right=(self.right[0], self.right[1]),
            gained=self.gained,
            lost=self.lost,
        )


def _apart(leaves: Sequence[Tensor], count: int) -> bool:
    """Whether each input has a row of its own in every one of these."""
    return bool(leaves) and all(leaf.dim() > 0 and len(leaf) == count for leaf in leaves)
