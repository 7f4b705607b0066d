"""A calibrated conversion: weights away from their initialisation, a few random inputs, and what the fit is worth."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only

import convsurgeon
from compatibility.stages import LeftOut, Wrong
from compatibility.witness import Ran, ran
from convsurgeon.base.errors import NothingToConvert

__all__ = ["INPUTS", "SLACK", "answered", "apart", "calibrated", "drawn", "finite", "shaken"]

METHOD = "igc-l4m2"  # without a choice, so that no damage has to be measured
INPUTS = 8
SLACK = 1.02  # of the error of the fit on weights alone; below that the data did no harm


def calibrated(model: nn.Module, inputs: Any, *, varying: bool = False) -> None:
    """Convert a shaken copy on random inputs like these; ``model`` is untouched. Outputs that are ``varying`` in
    size (a detector's boxes) must be finite only.

    Raises:
        Wrong: outputs that are not finite, or further from the original's than those of a fit on the weights alone.
        LeftOut: nothing to convert, or outputs that can't be compared.
    """
    model = shaken(model)
    data, before = answered(model, inputs, INPUTS)
    try:
        made = convsurgeon.convert(model, inputs, method=METHOD, calibration=data)
    except NothingToConvert as reason:
        raise LeftOut("nothing to convert") from reason
    blind = convsurgeon.apply(model, made.plan, inputs)
    fitted, unfitted = ([ran(done.model, each) for each in data] for done in (made, blind))
    if not all(finite(each) for each in fitted):
        raise Wrong("the calibrated network's outputs are not finite")
    if varying:
        return
    ours, blinds = apart(before, fitted, unfitted)
    if ours > SLACK * blinds:
        raise Wrong(f"output error {ours:.3g} calibrated, {blinds:.3g} fitted to the weights alone")


def shaken(model: nn.Module) -> nn.Module:
    """A copy as if it had been trained a little: no weight, and no batch norm, is where it began."""
    twin, random = copy.deepcopy(model), torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random).to(like)

    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.is_floating_point():
                parameter.mul_(1 + 0.1 * noise(parameter))
        for module in twin.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.add_(0.1 * noise(module.running_mean))
                module.running_var.mul_(1 + 0.3 * noise(module.running_var).clamp(-2, 2))
    return twin


def answered(model: nn.Module, inputs: Any, count: int) -> tuple[list[Any], list[Ran]]:
    """Random inputs like these, and what the model makes of each.

    Raises:
        LeftOut: something that is not finite.
    """
    data = [drawn(inputs, seed) for seed in range(count)]
    answers = [ran(model, each) for each in data]
    if not all(finite(each) for each in answers):
        raise LeftOut("the original's own outputs are not finite")
    return data, answers


def drawn(inputs: Any, seed: int) -> Any:
    """Inputs of the same shapes and types, their floating values anew between 0 and 1."""
    random = torch.Generator().manual_seed(seed)

    def anew(tensor: Tensor) -> Tensor:
        return torch.rand(tensor.shape, generator=random).to(tensor) if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, anew, inputs)


def finite(found: Ran) -> bool:
    """Whether no output is infinite or NaN."""
    return all(bool(output.isfinite().all()) for output in found.outputs if output.is_floating_point())


def apart(wanted: list[Ran], ones: list[Ran], others: list[Ran]) -> tuple[float, float]:
    """Squared distances of two networks' outputs from the wanted ones, over those of equal shape in all of them.

    Each output's are relative to its own size: boxes in pixels would outweigh the scores that choose them.

    Raises:
        LeftOut: there are none.
    """
    sizes, ours, theirs = defaultdict[int, float](float), defaultdict[int, float](float), defaultdict[int, float](float)
    for each in zip(wanted, ones, others, strict=True):
        for number, (y, one, other) in enumerate(zip(*(found.outputs for found in each), strict=False)):
            if y.is_floating_point() and y.shape == one.shape == other.shape and y.numel():
                sizes[number] += _squares(y)
                ours[number] += _squares(y.double() - one.double())
                theirs[number] += _squares(y.double() - other.double())
    if not sizes:
        raise LeftOut("outputs vary in size, so that they can't be compared")
    one, other = (sum(far[i] / (size or 1.0) for i, size in sizes.items()) for far in (ours, theirs))
    return one, other


def _squares(values: Tensor) -> float:
    return float(values.double().square().sum())
