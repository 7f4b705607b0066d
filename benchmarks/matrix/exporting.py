"""Export of a converted network, judged by running the file it wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import convsurgeon
from benchmarks.matrix.stages import LeftOut, Wrong, said
from benchmarks.matrix.witness import Ran
from convsurgeon.errors import ConvsurgeonError

__all__ = ["exported"]

_TOLERANCE = 1e-3  # of the largest output: a runtime folds and reorders float32 sums


def exported(model: nn.Module, original: nn.Module, inputs: Any, after: Ran) -> None:
    """Export to ONNX, run the file in ONNX Runtime, and compare its outputs with ``after``, those of ``model``.

    Without lowering, which times its choices and would take most of the matrix's time.

    Raises:
        LeftOut: a package is missing, or the original can't be exported either.
        Wrong: the file computes something else.
        ConvsurgeonError: the export of the converted network alone fails.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise LeftOut(f"{package} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.onnx"
        try:
            convsurgeon.export(model, inputs, path, lowered=False)
        except ConvsurgeonError as error:
            _blame(error, original, inputs, path.with_name("original.onnx"))
        _compare(_run(path, inputs), after)


def _blame(error: ConvsurgeonError, original: nn.Module, inputs: Any, path: Path) -> None:
    """Raise the error, unless the original fails in the same way."""
    try:
        convsurgeon.export(original, inputs, path, lowered=False)
    except ConvsurgeonError:
        raise LeftOut(f"the original can't be exported either: {said(error)}") from error
    raise error


def _run(path: Path, inputs: Any) -> list[Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tensors = [leaf.numpy() for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    names = [one.name for one in session.get_inputs()]
    if len(names) != len(tensors):
        raise Wrong(f"the file takes {len(names)} inputs, the network {len(tensors)}")
    return [torch.as_tensor(found) for found in session.run(None, dict(zip(names, tensors, strict=True)))]


def _compare(found: Sequence[Tensor], after: Ran) -> None:
    if [list(tensor.shape) for tensor in found] != [list(tensor.shape) for tensor in after.outputs]:
        shapes = [list(tensor.shape) for tensor in found]
        raise Wrong(f"the file returns {shapes}, the network {after.shapes()}")
    for theirs, ours in zip(found, after.outputs, strict=True):
        most = max(1.0, float(ours.double().abs().max())) if ours.numel() else 1.0
        error = float((theirs.double() - ours.double()).abs().max()) / most if ours.numel() else 0.0
        if not error <= _TOLERANCE:
            raise Wrong(f"the file's outputs differ by {error:.1e} of the largest, allowed {_TOLERANCE:.0e}")
