"""ONNX: for ONNX Runtime and whatever else reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.ways import by_way_of_float
from convsurgeon.runtimes.onnx_conversion import known_opsets, onnx_missing, run_onnx, session_for, to_onnx
from convsurgeon.runtimes.onnx_int8 import OLDEST_INT8_OPSET, quantise_onnx

__all__ = ["OnnxFile"]


@dataclass(frozen=True)
class OnnxFile(Format):
    """One file, weights included."""

    name: str = "onnx"
    suffix: str = ".onnx"
    runtime: str = "onnxruntime"

    def opsets(self) -> range:
        """Those of the installed ONNX."""
        return known_opsets()

    def int8_opsets(self) -> range:
        """From the oldest that has what is written."""
        return range(OLDEST_INT8_OPSET, self.opsets().stop)

    def missing(self) -> str | None:
        """Which packages are not there."""
        return onnx_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """By the first of PyTorch's exporters whose graph computes the same."""
        graph = to_onnx(model, inputs, free=wanted.free, opset=wanted.opset)
        path.write_bytes(graph.content)
        return Written(graph.free, (f"written by the {graph.exporter} exporter", *graph.problems))

    def read(self, path: Path) -> Reader:
        """By ONNX Runtime."""
        session = session_for(path.read_bytes(), threads=torch.get_num_threads())
        return lambda inputs: run_onnx(session, inputs)

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By ONNX Runtime's static quantisation of the file in float."""
        return by_way_of_float(self.write, quantise_onnx, source, path)
