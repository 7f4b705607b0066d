"""LiteRT: a .tflite file for phones and small devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convsurgeon.base.free_axes import FreeAxes, sizes_to_compare
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.ways import by_way_of_float, with_free_axes
from convsurgeon.runtimes.litert import litert_missing, litert_reader, quantise_litert, write_litert
from convsurgeon.runtimes.pt2e import unstacked

__all__ = ["LiteRtFile"]


@dataclass(frozen=True)
class LiteRtFile(Format):
    """One file, weights included."""

    name: str = "litert"
    suffix: str = ".tflite"

    def missing(self) -> str | None:
        """Which packages are not there."""
        return litert_missing()

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """With the axes free that litert-torch finds that the network allows, and that the file does."""
        plain = unstacked(model)

        def write_and_run(axes: FreeAxes) -> None:
            write_litert(plain, inputs, path, axes)
            # It writes the traced size into some operations, such as gathering channels in another order.
            for given in sizes_to_compare(inputs, axes):
                litert_reader(path)(given)

        return with_free_axes(write_and_run, wanted)

    def read(self, path: Path) -> Reader:
        """By LiteRT's interpreter."""
        return litert_reader(path)

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """By ai-edge-quantizer, of the file in float."""
        return by_way_of_float(self.write, quantise_litert, source, path)
