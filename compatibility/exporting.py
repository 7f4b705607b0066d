"""Export of a converted network, judged by running the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from compatibility.stages import LeftOut, Wrong, said
from compatibility.witness import Ran, ran
from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.runtimes.onnx_conversion import Exporter, onnx_missing, run_onnx, session_for, to_onnx

__all__ = ["exported"]

_NUDGE = 1e-6  # a few roundings of float32
_TOLERANCE = 1e-4  # of the largest output, as every export is held to


def exported(library: str, model: nn.Module, original: nn.Module, inputs: Any, after: Ran) -> None:
    """Export to ONNX, run the graph in ONNX Runtime, and compare its outputs with ``after``, those of ``model``.

    Without lowering, which times its choices and would take most of the matrix's time. torchvision's networks are
    exported as ``convsurgeon export`` does it; the others by PyTorch's TorchScript exporter first, which takes a tenth
    of the time.

    Raises:
        LeftOut: a package is missing, the original can't be exported either, or rounding alone moves the outputs.
        Wrong: the graph computes something else.
        ConvsurgeonError: the export of the converted network alone fails.
    """
    if (package := onnx_missing()) is not None:
        raise LeftOut(f"{package} is not installed")
    first: Exporter = "torch.export" if library == "torchvision" else "TorchScript"
    given = as_inputs(inputs)
    try:
        content = to_onnx(model, given, first=first).content
    except ConvsurgeonError as error:
        _blame_the_original(error, original, given, first)
        _blame_the_network(error, model, inputs, after)
        raise
    _compare(run_onnx(session_for(content, threads=torch.get_num_threads()), given), after)


def _blame_the_original(error: ConvsurgeonError, original: nn.Module, inputs: Inputs, first: Exporter) -> None:
    """Leave out what can't be exported before the conversion either."""
    try:
        to_onnx(original, inputs, first=first)
    except ConvsurgeonError:
        raise LeftOut(f"the original can't be exported either: {said(error)}") from error


def _blame_the_network(error: ConvsurgeonError, model: nn.Module, inputs: Any, after: Ran) -> None:
    """Leave out a network whose own outputs jump: one that sorts nearly equal scores never gives the same twice."""
    if "its outputs differ by" not in str(error):
        return
    signs = torch.Generator().manual_seed(0)

    def nudged(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor * (1 + _NUDGE * torch.randint(0, 2, tensor.shape, generator=signs).mul(2).sub(1))

    jump = _error(ran(model, tree_map_only(Tensor, nudged, inputs)).outputs, after.outputs)
    if jump > _TOLERANCE:
        raise LeftOut(
            "the network itself jumps, so that equality can't be judged: "
            f"inputs changed by {_NUDGE:.0e} change its outputs by {jump:.0e}; {said(error)}"
        ) from error


def _compare(found: Sequence[Tensor], after: Ran) -> None:
    if [list(tensor.shape) for tensor in found] != [list(tensor.shape) for tensor in after.outputs]:
        shapes = [list(tensor.shape) for tensor in found]
        raise Wrong(f"the graph returns {shapes}, the network {after.shapes()}")
    if not (error := _error(found, after.outputs)) <= _TOLERANCE:
        raise Wrong(f"the graph's outputs differ by {error:.1e} of the largest, allowed {_TOLERANCE:.0e}")


def _error(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference of any tensor, relative to its largest value where that is above 1; ∞ between shapes."""
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in wanted]:
        return math.inf
    errors = [0.0]
    for theirs, ours in zip(found, wanted, strict=True):
        if ours.numel():
            most = max(1.0, float(ours.double().abs().max()))
            errors.append(float((theirs.double() - ours.double()).abs().max()) / most)
    return max(errors, key=lambda error: (math.isnan(error), error))
