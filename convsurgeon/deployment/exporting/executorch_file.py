"""ExecuTorch: a .pte file for phones and small devices, for XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Reader, ToQuantise, Wanted, Written
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
class ExecuTorchFile:
    """One file, weights included, for the example's sizes: its memory is planned ahead."""

    name: str = "executorch"
    suffix: str = ".pte"
    beside: tuple[str, ...] = ()
    # Forms are not timed: it is made to run elsewhere.
    runtime: str | None = None

    def opsets(self) -> range:
        """Its operators have no versions."""
        return range(0)

    def int8_opsets(self) -> range:
        """As in float."""
        return self.opsets()

    def missing(self) -> str | None:
        """Whether the package is there."""
        return executorch_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """By way of torch.export."""
        _require_fixed(wanted)
        write_executorch(exported_program(model, inputs), path)
        return Written(())

    def read(self, path: Path) -> Reader:
        """By ExecuTorch's runtime."""
        return executorch_reader(path)

    def int8_missing(self) -> str | None:
        """The quantiser comes with it."""
        return self.missing()

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By torchao and XNNPACK's quantiser, of the program in float."""
        _require_fixed(source.wanted)
        program = exported_program(unstacked(source.network), source.inputs)
        quantised = quantised_graph(program, xnnpack_quantiser(), source.calibration, source.in_float)
        write_executorch(exported_program(quantised, source.inputs), path)
        return Written(())

    def read_int8(self, path: Path) -> Reader:
        """As any other file."""
        return self.read(path)


def _require_fixed(wanted: Wanted) -> None:
    if wanted.free:
        raise UsageError(
            f"{', '.join(wanted.free)} can't be free in a .pte file, whose memory is planned for the example's sizes; "
            "leave free (--free) away, and write a file for each size."
        )
