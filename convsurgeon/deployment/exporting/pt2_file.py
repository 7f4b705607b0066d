"""PyTorch's own format: ``torch.export.load(path).module()`` runs it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.program import exported_program
from convsurgeon.deployment.exporting.ways import with_free_axes
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.pt2_int8 import pt2_int8_reader, torchao_missing, x86_quantiser
from convsurgeon.runtimes.pt2e import quantised_graph, unstacked
from convsurgeon.runtimes.quiet import quiet

__all__ = ["Pt2File"]


@dataclass(frozen=True)
class Pt2File(Format):
    """A torch.export program."""

    name: str = "pt2"
    suffix: str = ".pt2"
    runtime: str = "eager"

    def missing(self) -> str | None:
        """Nothing but torch is needed."""
        return None

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """With the axes free that torch.export finds that the program allows."""
        return with_free_axes(lambda axes: _save(exported_program(model, inputs, axes), path), wanted)

    def read(self, path: Path) -> Reader:
        """By torch alone.

        Raises:
            ModelRunError: torch can't read what it wrote.
        """
        try:
            # It logs all that it could not read, which anybody may have named.
            # torch opens no path that is not UTF-8.
            with quiet(), path.open("rb") as file:
                module: Any = torch.export.load(file).module()
        except RuntimeError as error:
            raise ModelRunError(
                "torch.export can't read the file that it wrote, as where names of modules or classes hold brackets, "
                "commas or semicolons. Name them otherwise, or export to .onnx."
            ) from error

        def run(inputs: Inputs) -> list[torch.Tensor]:
            with torch.no_grad():
                return as_tensors(inputs.call(module))

        return run

    def int8_missing(self) -> str | None:
        """The quantiser and its kernels come with torchao."""
        return torchao_missing()

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By torchao, of the program in float."""
        if source.inputs.kwargs:
            raise ModelRunError("torchao's kernels take positional arguments only; export to .onnx or .xml.")
        plain = unstacked(source.network)

        def write(axes: FreeAxes) -> None:
            program = exported_program(plain, source.inputs, axes)
            quantised = quantised_graph(program, x86_quantiser(), source.calibration, source.in_float)
            _save(exported_program(quantised, source.inputs, axes), path)

        return with_free_axes(write, source.wanted)

    def read_int8(self, path: Path) -> Reader:
        """In oneDNN's int8 kernels."""
        return pt2_int8_reader(path)


def _save(program: torch.export.ExportedProgram, path: Path) -> None:
    # Where there is no room, writing to the file itself ends the process.
    content = BytesIO()
    try:
        torch.export.save(program, content)
    # It raises whatever can't be written down.
    except Exception as error:
        raise ModelRunError(f"torch.export can't save the model: {first_line(error)}.") from error
    # Path.write_bytes leaves a view of the buffer to the garbage collector after an error, where Python 3.12.1 crashes.
    with path.open("wb") as file, content.getbuffer() as view:
        file.write(view)
