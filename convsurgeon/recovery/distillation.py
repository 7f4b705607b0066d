"""The loss of one batch: how far the converted network is from its original, at the outputs and at the sites.

Outputs: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531 (softened logits);
features: Romero et al., "FitNets", arXiv 1412.6550 (squared error inside the network), here relative to the
original's energy, so that no layer outweighs another by its scale. What a detector's heads return is compared relative
to its spread instead, since nearly all of its class scores are far below zero and nearly equal.

Every term is a sum over this process's images divided by a number summed over all processes. So the loss, and with
averaged gradients the training, is the same for any number of processes that share a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.recovery.batches import UNLABELLED, Batch
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.features import Features, comparing, keeping, squared_distance
from convsurgeon.recovery.own_losses import Target, own_losses
from convsurgeon.recovery.readout import Readout
from convsurgeon.recovery.replay import Course, replayed
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.recovery.sites import Sites

__all__ = ["Answering", "Distillation"]

# Of the energy; what a head's values differ by less is rounding.
_LEAST_SPREAD = 1e-4


@dataclass
class _Targets:
    """What the original says of a batch, and the numbers to divide by, summed over all processes."""

    course: Course
    outputs: list[Tensor]
    between: list[Tensor]
    features: Features
    logits: bool
    labels: Tensor | None
    per_output: Tensor
    per_feature: Tensor
    per_label: Tensor


class Answering(nn.Module):
    """The student as it is called in a step, once, so that a distributed wrapper can go around it."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(
        self, course: Course, inputs: Inputs, taught: Sequence[Target] | None
    ) -> tuple[list[list[Tensor]], Tensor | None]:
        """Its own results in the original's course, and its own losses where it is taught by targets."""
        results = replayed(self.student, course)
        return results, None if taught is None else own_losses(self.student, inputs, taught)


class Distillation:
    """Compares the student with the teacher; ``teacher`` is in eval mode, on the same device, without gradients."""

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        sites: Sites,
        settings: RecoverSettings,
        engine: Engine,
        readout: Readout,
    ) -> None:
        self._teacher = teacher
        self._student = student
        self._sites = sites if settings.feature_weight else Sites(sites.replaced, ())
        self._settings = settings
        self._engine = engine
        self._readout = readout

    def loss(self, network: Callable[..., Any], batch: Batch) -> Tensor:
        """The scalar loss of one batch; ``network`` is the student's `Answering`, perhaps in a distributed wrapper.

        Raises:
            ModelRunError: a model fails on these inputs, or the two return different things.
            UsageError: labels that do not fit the outputs, or nothing to compare.
        """
        inputs, settings = batch.inputs.like(self._student), self._settings
        if settings.label_weight and batch.labels is None:
            raise UsageError("label_weight is set, but a batch has no labels: yield (inputs, labels), or set it to 0.")
        labels = batch.labels if settings.label_weight else None
        taught = None if isinstance(labels, Tensor) else labels
        targets = self._targets(inputs, labels if isinstance(labels, Tensor) else None)
        compared = comparing(self._student, self._sites.compared, targets.features)
        with self._engine.mixed(), compared as errors:
            results, losses = network(targets.course, inputs, taught)
        total = self._weighed(targets, results, errors) * self._engine.processes
        # A detector's losses are means over its own images: their mean over the processes is the batch's.
        return total if losses is None else total + settings.label_weight * losses

    def _targets(self, inputs: Inputs, labels: Tensor | None) -> _Targets:
        self._readout.decide(inputs)
        with torch.no_grad(), self._engine.mixed(), keeping(self._teacher, self._sites.compared) as features:
            course = self._readout.original(inputs)
        outputs, between = (of(course, course.results) for of in (self._readout.ends, self._readout.between))
        logits = self._are_logits(outputs)
        target = _checked_labels(labels, outputs)
        labelled = torch.zeros(()) if target is None else (target != UNLABELLED).sum()
        energies = [*map(_energy, ([y] for y in between)), *(_energy(features[n]) for n in self._sites.compared)]
        moments = [x for y in outputs for x in (y.square().sum(), y.sum(), torch.tensor(y.numel()))]
        device = self._engine.device
        sums = torch.stack([x.to(device).float() for x in (*moments, *energies, labelled)])
        of_outputs, per_feature, per_label = torch.split(self._engine.total(sums), [len(moments), len(energies), 1])
        return _Targets(
            course=course,
            outputs=outputs,
            between=between,
            features=features,
            logits=logits,
            labels=target,
            per_output=self._per_output(of_outputs.reshape(len(outputs), 3), outputs, logits),
            per_feature=per_feature,
            per_label=per_label[0],
        )

    def _per_output(self, moments: Tensor, outputs: list[Tensor], logits: bool) -> Tensor:
        """What the distance of each output is divided by, from Σy², Σy and the count of y [outputs, 3]."""
        squares, total, count = moments.unbind(1)
        if logits:
            return count / torch.tensor([y.shape[1] for y in outputs]).to(count)
        if not self._readout.at_heads:
            return squares
        spread = squares - total.square() / count.clamp(min=1)
        return torch.maximum(spread, _LEAST_SPREAD * squares)

    def _are_logits(self, outputs: list[Tensor]) -> bool:
        if self._settings.outputs == "auto":
            return len(outputs) == 1 and outputs[0].dim() == 2 and outputs[0].shape[1] > 1
        if self._settings.outputs == "logits" and any(y.dim() < 2 or y.shape[1] < 2 for y in outputs):
            shapes = ", ".join(str(list(y.shape)) for y in outputs)
            raise UsageError(f"the outputs {shapes} are no logits [N, K, …]; set outputs to 'values'.")
        return self._settings.outputs == "logits"

    def _weighed(self, targets: _Targets, results: list[list[Tensor]], errors: dict[str, Tensor]) -> Tensor:
        settings, course = self._settings, targets.course
        outputs, between = (of(course, results) for of in (self._readout.ends, self._readout.between))
        zero = targets.per_label.new_zeros(())
        found = [
            (self._distance(wanted, y, targets.logits), per)
            for wanted, y, per in zip(targets.outputs, outputs, targets.per_output, strict=False)
            if wanted.shape == y.shape
        ]
        if not found and not errors:
            raise ModelRunError(
                "the original and the converted network return nothing that can be compared on this batch: "
                f"{_shapes(targets.outputs)} and {_shapes(outputs)}. Pass the network that this original became."
            )
        output = sum((_ratio(error, per) for error, per in found), zero) / max(1, len(found))
        inside = [
            *(squared_distance(wanted, y) for wanted, y in zip(targets.between, between, strict=True)),
            *(errors.get(name) for name in self._sites.compared),
        ]
        features = [
            _ratio(error, per) for error, per in zip(inside, targets.per_feature, strict=True) if error is not None
        ]
        feature = sum(features, zero) / max(1, len(features))
        total = settings.output_weight * output + settings.feature_weight * feature
        if targets.labels is not None:
            error = F.cross_entropy(outputs[0], targets.labels, ignore_index=UNLABELLED, reduction="sum")
            total = total + settings.label_weight * _ratio(error, targets.per_label)
        return total

    def _distance(self, wanted: Tensor, found: Tensor, logits: bool) -> Tensor:
        if not logits:
            return squared_distance(wanted, found)
        t = self._settings.temperature
        # The gradient of softened logits shrinks with 1/t².
        mine, other = (found / t).log_softmax(1), (wanted / t).log_softmax(1)
        return t * t * F.kl_div(mine, other, reduction="sum", log_target=True)


def _energy(features: list[Tensor]) -> Tensor:
    return sum((y.square().sum() for y in features), torch.zeros(()))


def _ratio(error: Tensor, per: Tensor) -> Tensor:
    """0 where the original has nothing to compare with; without a branch, which would wait for the device."""
    return error / torch.where(per > 0, per, math.inf)


def _shapes(outputs: list[Tensor]) -> str:
    return ", ".join(str(list(y.shape)) for y in outputs) or "no tensor"


def _checked_labels(labels: Tensor | None, outputs: list[Tensor]) -> Tensor | None:
    """Labels [N] or masks [N, H, W] on the outputs' device.

    Raises:
        UsageError: the outputs are not one tensor [N, K] or [N, K, H, W], or a label is not one of 0 … K − 1
            (−1: unknown).
    """
    if labels is None:
        return None
    if len(outputs) != 1 or outputs[0].dim() < 2 or outputs[0][:, 0].shape != labels.shape:
        expected = ", ".join(map(str, (len(labels), "K", *labels.shape[1:])))
        raise UsageError(
            f"labels {list(labels.shape)} need a network with one output [{expected}]; this one returns "
            f"{_shapes(outputs)}. Set label_weight to 0."
        )
    classes = outputs[0].shape[1]
    low, high = int(labels.min()), int(labels.max())
    if low < UNLABELLED or high >= classes:
        raise UsageError(
            f"a batch has label {high if high >= classes else low}; the network has {classes} outputs, so labels go "
            f"from 0 to {classes - 1} (−1: unknown, as are borders, often 255, in masks). Map the classes to the "
            "outputs, or train without labels."
        )
    return labels.to(outputs[0].device).long()
