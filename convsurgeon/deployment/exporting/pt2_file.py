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

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Reader, Written
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.free_batch import free_axes
from convsurgeon.runtimes.pt2_int8 import pt2_int8_reader, quantised_graph, torchao_missing, unstacked

__all__ = ["Pt2File"]


@dataclass(frozen=True)
class Pt2File:
    """A torch.export program."""

    name: str = "pt2"
    suffix: str = ".pt2"
    beside: tuple[str, ...] = ()
    runtime: str = "eager"

    def missing(self) -> str | None:
        """Nothing but torch is needed."""
        return None

    def write(self, model: nn.Module, inputs: Inputs, path: Path) -> Written:
        """With a free batch axis where torch.export finds that the program allows it."""
        return _written(lambda dynamic: _program(model, inputs, dynamic), path)

    def read(self, path: Path) -> Reader:
        """By torch alone."""
        module: Any = torch.export.load(path).module()

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
        calibration: Sequence[Inputs],
        in_float: Collection[str],
        path: Path,
    ) -> Written:
        """By torchao, of the program in float."""
        if inputs.kwargs:
            raise ModelRunError("torchao's kernels take positional arguments only; export to .onnx or .xml.")
        plain = unstacked(model)

        def program(dynamic: bool) -> torch.export.ExportedProgram:
            quantised = quantised_graph(_program(plain, inputs, dynamic), calibration, in_float)
            return _program(quantised, inputs, dynamic)

        return _written(program, path)

    def read_int8(self, path: Path) -> Reader:
        """In oneDNN's int8 kernels."""
        return pt2_int8_reader(path)


def _written(program: Callable[[bool], torch.export.ExportedProgram], path: Path) -> Written:
    """Write the program with a free batch axis, or with a fixed one where there can't be any."""
    problems: list[str] = []
    for dynamic in (True, False):
        try:
            with warnings.catch_warnings():
                # About tensors that share memory: the comparison finds what matters.
                warnings.simplefilter("ignore")
                # Where there is no room, writing to the file itself ends the process.
                content = BytesIO()
                torch.export.save(program(dynamic), content)
            path.write_bytes(content.getbuffer())
            return Written(dynamic, tuple(f"the batch size is fixed, because {problem}" for problem in problems))
        except OSError:
            raise
        # torch.export raises whatever the traced code or its own passes do.
        except Exception as error:
            problems.append(first_line(error))
    raise ModelRunError(f"torch.export can't take the model: {problems[-1]}.")


def _program(model: nn.Module, inputs: Inputs, dynamic: bool) -> torch.export.ExportedProgram:
    # A batch of one would be taken for a constant.
    given = rebatched(inputs, 2) if dynamic else inputs
    with torch.no_grad():
        return torch.export.export(
            model,
            tuple(given.args),
            dict(given.kwargs),
            dynamic_shapes=free_axes(given) if dynamic else None,
        )
