"""The loss of one batch: how far the converted network is from its original, at the outputs and at the sites.

Outputs: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531 (softened logits);
features: Romero et al., "FitNets", arXiv 1412.6550 (squared error inside the network), here relative to the
original's energy, so that no layer outweighs another by its scale.

Every term is a sum over this process's images divided by a number summed over all processes. So the loss, and with
averaged gradients the training, is the same for any number of processes that share a batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import After, observed
from convsurgeon.recovery.batches import UNLABELLED, Batch
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.recovery.sites import Sites

__all__ = ["Distillation"]

Features = dict[str, list[Tensor]]


@dataclass
class _Targets:
    """What the original says of a batch, and the numbers to divide by, summed over all processes."""

    outputs: list[Tensor]
    features: Features
    logits: bool
    labels: Tensor | None
    per_output: Tensor
    per_site: Tensor
    per_label: Tensor


class Distillation:
    """Compares the student with the teacher; ``teacher`` is in eval mode, on the same device, without gradients."""

    def __init__(self, teacher: nn.Module, student: nn.Module, sites: Sites, settings: RecoverSettings, engine: Engine):
        self._teacher = teacher
        self._student = student
        self._sites = sites if settings.feature_weight else Sites(sites.replaced, ())
        self._settings = settings
        self._engine = engine

    def loss(self, network: Callable[..., Any], batch: Batch) -> Tensor:
        """The scalar loss of one batch; ``network`` is the student, perhaps in a distributed wrapper.

        Raises:
            ModelRunError: a model fails on these inputs, or the two return different things.
            UsageError: labels that do not fit the outputs, or nothing to compare.
        """
        inputs = batch.inputs.like(self._student)
        if self._settings.label_weight and batch.labels is None:
            raise UsageError("label_weight is set, but a batch has no labels: yield (inputs, labels), or set it to 0.")
        targets = self._targets(inputs, batch.labels if self._settings.label_weight else None)
        errors: dict[str, Tensor] = {}
        with self._engine.mixed(), _reading(self._student, self._sites.compared, _adding_errors(targets, errors)):
            outputs = inputs.call(network)
        return self._weighed(targets, _floats(outputs), errors) * self._engine.processes

    def _targets(self, inputs: Inputs, labels: Tensor | None) -> _Targets:
        features: Features = defaultdict(list)

        def keep(name: str, y: Tensor) -> None:
            # What runs behind (ReLU in place) may write into it.
            features[name].append(y.detach().float().clone())

        with torch.no_grad(), self._engine.mixed(), _reading(self._teacher, self._sites.compared, keep):
            outputs = _floats(inputs.call(self._teacher))
        logits = self._are_logits(outputs)
        per_output = [_count(y) if logits else y.square().sum() for y in outputs]
        per_site = [_energy(features.get(name, [])) for name in self._sites.compared]
        target = _checked_labels(labels, outputs)
        labelled = [torch.zeros(()) if target is None else (target != UNLABELLED).sum()]
        device = self._engine.device
        sums = torch.stack([x.to(device).float() for x in (*per_output, *per_site, *labelled)])
        sums = self._engine.total(sums)
        ends = len(per_output), len(per_output) + len(per_site)
        return _Targets(outputs, features, logits, target, sums[: ends[0]], sums[ends[0] : ends[1]], sums[ends[1]])

    def _are_logits(self, outputs: list[Tensor]) -> bool:
        if self._settings.outputs == "auto":
            return len(outputs) == 1 and outputs[0].dim() == 2 and outputs[0].shape[1] > 1
        if self._settings.outputs == "logits" and any(y.dim() < 2 or y.shape[1] < 2 for y in outputs):
            shapes = ", ".join(str(list(y.shape)) for y in outputs)
            raise UsageError(f"the outputs {shapes} are no logits [N, K, …]; set outputs to 'values'.")
        return self._settings.outputs == "logits"

    def _weighed(self, targets: _Targets, outputs: list[Tensor], errors: dict[str, Tensor]) -> Tensor:
        settings = self._settings
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
        sites = [
            _ratio(errors[name], per)
            for name, per in zip(self._sites.compared, targets.per_site, strict=True)
            if name in errors
        ]
        feature = sum(sites, zero) / max(1, len(sites))
        total = settings.output_weight * output + settings.feature_weight * feature
        if targets.labels is not None:
            error = F.cross_entropy(outputs[0], targets.labels, ignore_index=UNLABELLED, reduction="sum")
            total = total + settings.label_weight * _ratio(error, targets.per_label)
        return total

    def _distance(self, wanted: Tensor, found: Tensor, logits: bool) -> Tensor:
        if not logits:
            return (found - wanted).square().sum()
        t = self._settings.temperature
        # The gradient of softened logits shrinks with 1/t².
        mine, other = (found / t).log_softmax(1), (wanted / t).log_softmax(1)
        return t * t * F.kl_div(mine, other, reduction="sum", log_target=True)


def _adding_errors(targets: _Targets, errors: dict[str, Tensor]) -> Callable[[str, Tensor], None]:
    """Squared errors are taken right in the hooks, before anything writes into the features."""
    calls: dict[str, int] = defaultdict(int)

    def add(name: str, y: Tensor) -> None:
        wanted = targets.features.get(name, [])
        at, calls[name] = calls[name], calls[name] + 1
        if at < len(wanted) and wanted[at].shape == y.shape:
            error = (y.float() - wanted[at]).square().sum()
            errors[name] = errors[name] + error if name in errors else error

    return add


def _reading(
    model: nn.Module, names: tuple[str, ...], read: Callable[[str, Tensor], None]
) -> AbstractContextManager[None]:
    """Pass the output of every call of the named modules to ``read``."""

    def reader(name: str) -> After:
        def hook(_args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
            if isinstance(output, Tensor):
                read(name, output)

        return hook

    return observed(after=[(model.get_submodule(name), reader(name)) for name in names])


def _floats(value: Any) -> list[Tensor]:
    return [leaf.float() for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _count(logits: Tensor) -> Tensor:
    return torch.tensor(logits.numel() / logits.shape[1], device=logits.device)


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
