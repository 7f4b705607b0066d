"""Export of a converted network, judged by running the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from benchmarks.matrix.stages import LeftOut, Wrong, said
from benchmarks.matrix.witness import Ran
from convsurgeon.errors import ConvsurgeonError
from convsurgeon.inputs import Inputs, as_inputs
from convsurgeon.runtimes.onnx_conversion import Exporter, onnx_missing, run_onnx, session_for, to_onnx

__all__ = ["exported"]

_TOLERANCE = 1e-3  # of the largest output: a runtime folds and reorders float32 sums


def exported(library: str, model: nn.Module, original: nn.Module, inputs: Any, after: Ran) -> None:
    """Export to ONNX, run the graph in ONNX Runtime, and compare its outputs with ``after``, those of ``model``.

    Without lowering, which times its choices and would take most of the matrix's time. torchvision's networks are
    exported as ``convsurgeon export`` does it; the others by PyTorch's TorchScript exporter first, which takes a tenth
    of the time.

    Raises:
        LeftOut: a package is missing, or the original can't be exported either.
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
        _blame(error, original, given, first)
    else:
        _compare(run_onnx(session_for(content, threads=torch.get_num_threads()), given), after)


def _blame(error: ConvsurgeonError, original: nn.Module, inputs: Inputs, first: Exporter) -> NoReturn:
    """Raise the error, unless the original fails in the same way."""
    try:
        to_onnx(original, inputs, first=first)
    except ConvsurgeonError:
        raise LeftOut(f"the original can't be exported either: {said(error)}") from error
    raise error


def _compare(found: Sequence[Tensor], after: Ran) -> None:
    if [list(tensor.shape) for tensor in found] != [list(tensor.shape) for tensor in after.outputs]:
        shapes = [list(tensor.shape) for tensor in found]
        raise Wrong(f"the graph returns {shapes}, the network {after.shapes()}")
    for theirs, ours in zip(found, after.outputs, strict=True):
        most = max(1.0, float(ours.double().abs().max())) if ours.numel() else 1.0
        error = float((theirs.double() - ours.double()).abs().max()) / most if ours.numel() else 0.0
        if not error <= _TOLERANCE:
            raise Wrong(f"the graph's outputs differ by {error:.1e} of the largest, allowed {_TOLERANCE:.0e}")
