"""What every file format has in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from convsurgeon.base.free_axes import FreeAxes
from convsurgeon.base.inputs import Inputs

__all__ = ["Format", "Reader", "ToQuantise", "Wanted", "Written"]

# Runs one forward of what a file holds; tensors come out in order.
Reader = Callable[[Inputs], list[Tensor]]


@dataclass(frozen=True)
class Wanted:
    """What a file shall be like.

    ``free`` names its inputs' axes of any length; None is the batch where that can be. ``opset`` is the version of
    ONNX's operators; None is the exporter's own.
    """

    free: FreeAxes | None = None
    opset: int | None = None


@dataclass(frozen=True)
class Written:
    """What was written: which axes are free, and what people should know of how."""

    free: FreeAxes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToQuantise:
    """A prepared network (eval mode, CPU) that is to become an int8 file.

    Ranges are those of ``calibration``; the layers that ``in_float`` names stay in float.
    """

    network: nn.Module
    inputs: Inputs
    wanted: Wanted
    calibration: Sequence[Inputs]
    in_float: Collection[str] = ()


class Format(Protocol):
    """A kind of file that runs without convsurgeon."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def suffix(self) -> str:
        """How its file's name ends."""
        ...

    @property
    def beside(self) -> tuple[str, ...]:
        """Suffixes of further files that belong to it, under the same name."""
        ...

    @property
    def runtime(self) -> str | None:
        """Where such files run, which is where the network's forms are timed; None where nothing is to be timed."""
        ...

    def opsets(self) -> range:
        """The versions of its operators to choose from; none where they have no versions."""
        ...

    def int8_opsets(self) -> range:
        """Those of them that int8 files may have."""
        ...

    def missing(self) -> str | None:
        """Why files can't be written here, with what to install; None if they can."""
        ...

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """Write a network that is in eval mode on the CPU.

        Raises:
            ModelRunError: the network can't be brought into this format.
        """
        ...

    def read(self, path: Path) -> Reader:
        """Open a file as its users will."""
        ...

    def int8_missing(self) -> str | None:
        """Why no int8 files can be written here, with what to install; None if they can."""
        ...

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """As ``write``, in int8.

        Raises:
            ModelRunError: the network can't be brought into this format, or not be quantised there.
        """
        ...

    def read_int8(self, path: Path) -> Reader:
        """Open an int8 file in the way in which it is fast."""
        ...
