"""LiteRT: a .tflite file for phones and small devices."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.free_axes import axes_to_try, free_in_words
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Reader, Wanted, Written
from convsurgeon.runtimes.litert import litert_missing, litert_reader, quantise_litert, write_litert
from convsurgeon.runtimes.pt2_int8 import unstacked

__all__ = ["LiteRtFile"]


@dataclass(frozen=True)
class LiteRtFile:
    """One file, weights included."""

    name: str = "litert"
    suffix: str = ".tflite"
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
        """Which packages are not there."""
        return litert_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """With the axes free that litert-torch finds that the network allows."""
        plain = unstacked(model)
        problems: list[str] = []
        for axes in axes_to_try(wanted.free):
            try:
                write_litert(plain, inputs, path, axes)
            except ModelRunError as error:
                problems.append(f"not {free_in_words(axes)}: {str(error).rstrip('.')}")
                continue
            return Written(axes, tuple(problems))
        raise ModelRunError(f"{'; '.join(problems)}.")

    def read(self, path: Path) -> Reader:
        """By LiteRT's interpreter."""
        return litert_reader(path)

    def int8_missing(self) -> str | None:
        """The quantiser comes with the converter."""
        return self.missing()

    def write_int8(
        self,
        model: nn.Module,
        inputs: Inputs,
        wanted: Wanted,
        calibration: Sequence[Inputs],
        in_float: Collection[str],
        path: Path,
    ) -> Written:
        """By ai-edge-quantizer, of the file in float."""
        with TemporaryDirectory() as folder:
            source = Path(folder) / path.name
            written = self.write(model, inputs, source, wanted)
            quantise_litert(source, calibration, in_float, path)
        return written

    def read_int8(self, path: Path) -> Reader:
        """As any other file."""
        return self.read(path)
