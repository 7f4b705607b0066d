"""Core ML: an .mlpackage for Apple's devices, which is looked at here and not run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.program import exported_program
from convsurgeon.runtimes.closeness import allowed, as_tensors, largest_disagreement
from convsurgeon.runtimes.coreml import COREML_PRECISIONS, coreml_content, coreml_missing, layers_in, write_coreml
from convsurgeon.runtimes.tensor_names import output_names

__all__ = ["CoreMlFile"]

_NOT_RUN = "Core ML runs on Apple's systems alone"


@dataclass(frozen=True)
class CoreMlFile(Format):
    """A folder that Apple's tools take for one file, for the example's sizes."""

    name: str = "coreml"
    suffix: str = ".mlpackage"
    inside: str = "Manifest.json"
    one_size: bool = True
    precisions: tuple[str, ...] = COREML_PRECISIONS

    def missing(self) -> str | None:
        """Whether coremltools is there."""
        return coreml_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """By way of torch.export, whose program is run and compared, since the package can't be."""
        program = exported_program(model, inputs)
        error = largest_disagreement(model, _runner(program), [inputs])
        if error > allowed(model):
            raise ModelRunError(
                f"the program for Core ML computes something else: its outputs differ by {error:.1e}, allowed "
                f"{allowed(model):.0e}; nothing was written. Try another format."
            )
        write_coreml(program, output_names(model, inputs), wanted.precision, path)
        precision = wanted.precision or self.precisions[0]
        notes = (
            f"the torch.export program that it was made from gives the network's outputs within {error:.1e}",
            f"in the package, in {precision}: {_looked_at(path, program, model, inputs)}",
        )
        return Written((), notes, _NOT_RUN)

    def read(self, path: Path) -> Reader:
        """Not here."""
        raise UsageError(f"'{path}' can't be run: {_NOT_RUN}.")

    def int8_missing(self) -> str | None:
        """What can't be run can't be compared."""
        return (
            f"{_NOT_RUN}, and an int8 file is compared with the one in float; write that, and quantise it there "
            "with coremltools.optimize.coreml."
        )

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """Not here."""
        raise UsageError(f"no int8 file of the format '{self.name}' can be written here: {self.int8_missing()}")


def _runner(program: torch.export.ExportedProgram) -> Reader:
    module = program.module()

    def run(inputs: Inputs) -> list[torch.Tensor]:
        with torch.no_grad():
            return as_tensors(inputs.call(module))

    return run


def _looked_at(path: Path, program: torch.export.ExportedProgram, model: nn.Module, inputs: Inputs) -> str:
    """What the package holds, in words.

    Raises:
        ModelRunError: other inputs, outputs or layers than the network has.
    """
    found = coreml_content(path)
    with torch.no_grad():
        outputs = [tuple(tensor.shape) for tensor in as_tensors(inputs.call(model))]
    wanted = list(inputs.shapes()), outputs, layers_in(program)
    holds = list(found.inputs.values()), list(found.outputs.values()), found.layers
    if holds != wanted:
        raise ModelRunError(
            f"the Core ML package holds something else: inputs, outputs and layers (convolutions, linear) are {holds}, "
            f"expected {wanted}; nothing was written. Try another format."
        )
    convolutions, linear = found.layers
    ports = " → ".join(
        ", ".join(f"{name} {list(shape)}" for name, shape in end.items()) for end in (found.inputs, found.outputs)
    )
    return f"{ports}; {convolutions} convolutions and {linear} linear layers, as in it; weights {found.weights} bytes"
