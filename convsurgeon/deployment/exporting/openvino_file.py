"""OpenVINO: an .xml graph with its weights in a .bin beside it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.runtimes.openvino_conversion import compiled_for, run_openvino, to_openvino
from convsurgeon.runtimes.openvino_int8 import nncf_missing, quantised_openvino
from convsurgeon.runtimes.openvino_package import openvino_core, openvino_missing, openvino_package

__all__ = ["OpenVinoFile"]


@dataclass(frozen=True)
class OpenVinoFile(Format):
    """Two files: the graph and its weights, which stay in the model's precision."""

    name: str = "openvino"
    suffix: str = ".xml"
    beside: tuple[str, ...] = (".bin",)
    runtime: str = "openvino"

    def missing(self) -> str | None:
        """Whether the package is there."""
        return openvino_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """From the module itself, or through ONNX where that fails."""
        converted = to_openvino(model, inputs, free=wanted.free)
        _save(converted.model, path)
        return Written(converted.free, (f"read from the {converted.source}", *converted.problems))

    def read(self, path: Path) -> Reader:
        """In float32, since the CPU plugin prefers bfloat16 where there is hardware for it."""
        model = openvino_core().read_model(path)
        compiled = compiled_for(model, precision="float32", threads=torch.get_num_threads())
        return lambda inputs: run_openvino(compiled, inputs)

    def int8_missing(self) -> str | None:
        """OpenVINO leaves quantising to a package of its own, NNCF."""
        return self.missing() or nncf_missing()

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By NNCF, from the model in float."""
        converted = to_openvino(source.network, source.inputs, free=source.wanted.free)
        _save(quantised_openvino(converted.model, source.calibration, source.in_float), path)
        return Written(converted.free, (f"read from the {converted.source}", *converted.problems))


def _save(model: Any, path: Path) -> None:
    # OpenVINO would halve the weights' precision without being asked.
    try:
        openvino_package().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        # All that OpenVINO says of a file that it could open and not fill.
        if "iostream" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
