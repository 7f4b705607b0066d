"""ExecuTorch: a .pte file for phones and small devices, for XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.program import exported_program
from convsurgeon.runtimes.executorch import (
    executorch_missing,
    executorch_reader,
    write_executorch,
    xnnpack_quantiser,
)
from convsurgeon.runtimes.pt2e import quantised_graph, unstacked

__all__ = ["ExecuTorchFile"]


@dataclass(frozen=True)
class ExecuTorchFile(Format):
    """One file, weights included, for the example's sizes: its memory is planned ahead."""

    name: str = "executorch"
    suffix: str = ".pte"
    one_size: bool = True

    def missing(self) -> str | None:
        """Whether the package is there."""
        return executorch_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """By way of torch.export."""
        write_executorch(exported_program(model, inputs), path)
        return Written(())

    def read(self, path: Path) -> Reader:
        """By ExecuTorch's runtime."""
        return executorch_reader(path)

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By torchao and XNNPACK's quantiser, of the program in float."""
        program = exported_program(unstacked(source.network), source.inputs)
        quantised = quantised_graph(program, xnnpack_quantiser(), source.calibration, source.in_float)
        write_executorch(exported_program(quantised, source.inputs), path)
        return Written(())
