"""PyTorch's own format: ``torch.export.load(path).module()`` runs it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes, axes_to_try, free_in_words, size_to_trace
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.working_folder import staying_here
from convsurgeon.deployment.exporting.format import Reader, Wanted, Written
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.export_axes import BY_DIM, export_axes
from convsurgeon.runtimes.pt2_int8 import pt2_int8_reader, quantised_graph, torchao_missing, unstacked
from convsurgeon.runtimes.quiet import quiet

__all__ = ["Pt2File"]


@dataclass(frozen=True)
class Pt2File:
    """A torch.export program."""

    name: str = "pt2"
    suffix: str = ".pt2"
    beside: tuple[str, ...] = ()
    runtime: str = "eager"

    def opsets(self) -> range:
        """Its operators have no versions."""
        return range(0)

    def int8_opsets(self) -> range:
        """As in float."""
        return self.opsets()

    def missing(self) -> str | None:
        """Nothing but torch is needed."""
        return None

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """With the axes free that torch.export finds that the program allows."""
        return _written(lambda axes: _program(model, inputs, axes), path, wanted)

    def read(self, path: Path) -> Reader:
        """By torch alone.

        Raises:
            ModelRunError: torch can't read what it wrote.
        """
        try:
            # It logs all that it could not read, which anybody may have named.
            with quiet():
                module: Any = torch.export.load(path).module()
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

    def write_int8(
        self,
        model: nn.Module,
        inputs: Inputs,
        wanted: Wanted,
        calibration: Sequence[Inputs],
        in_float: Collection[str],
        path: Path,
    ) -> Written:
        """By torchao, of the program in float."""
        if inputs.kwargs:
            raise ModelRunError("torchao's kernels take positional arguments only; export to .onnx or .xml.")
        plain = unstacked(model)

        def program(axes: FreeAxes) -> torch.export.ExportedProgram:
            quantised = quantised_graph(_program(plain, inputs, axes), calibration, in_float)
            return _program(quantised, inputs, axes)

        return _written(program, path, wanted)

    def read_int8(self, path: Path) -> Reader:
        """In oneDNN's int8 kernels."""
        return pt2_int8_reader(path)


def _written(program: Callable[[FreeAxes], torch.export.ExportedProgram], path: Path, wanted: Wanted) -> Written:
    """Write the program with the first of the axes free that can be."""
    problems: list[str] = []
    for axes in axes_to_try(wanted.free):
        try:
            with warnings.catch_warnings():
                # About tensors that share memory: the comparison finds what matters.
                warnings.simplefilter("ignore")
                # Where there is no room, writing to the file itself ends the process.
                content = BytesIO()
                torch.export.save(program(axes), content)
            path.write_bytes(content.getbuffer())
            return Written(axes, tuple(problems))
        except OSError:
            raise
        # torch.export raises whatever the traced code or its own passes do.
        except Exception as error:
            problems.append(f"not {free_in_words(axes)}: {first_line(error)}")
    raise ModelRunError(f"torch.export can't take the model: {'; '.join(problems)}.")


def _program(model: nn.Module, inputs: Inputs, axes: FreeAxes) -> torch.export.ExportedProgram:
    given = size_to_trace(inputs, axes)
    with torch.no_grad(), staying_here():
        return torch.export.export(
            model,
            tuple(given.args),
            dict(given.kwargs),
            dynamic_shapes=export_axes(given, axes, BY_DIM),
        )
