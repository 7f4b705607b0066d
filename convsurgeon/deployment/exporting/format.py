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
    ONNX's operators, ``precision`` one of the format's; None is the exporter's, and the format's, own.
    """

    free: FreeAxes | None = None
    opset: int | None = None
    precision: str | None = None


@dataclass(frozen=True)
class Written:
    """What was written: which axes are free, what people should know of how, and why it can't be run here, if so."""

    free: FreeAxes
    notes: tuple[str, ...] = ()
    not_run: str | None = None


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
    """A kind of file that runs without convsurgeon; what most kinds have in common stands here."""

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
        return ()

    @property
    def inside(self) -> str | None:
        """A file that is in every one of them where they are folders; None for plain files."""
        return None

    @property
    def one_size(self) -> bool:
        """Whether its files are for inputs of the example's sizes alone."""
        return False

    @property
    def precisions(self) -> tuple[str, ...]:
        """The number formats to choose from, its own first; none where it keeps that of the weights."""
        return ()

    @property
    def runtime(self) -> str | None:
        """Where such files run, which is where the network's forms are timed; None where nothing is to be timed."""
        return None

    def opsets(self) -> range:
        """The versions of its operators to choose from; none where they have no versions."""
        return range(0)

    def int8_opsets(self) -> range:
        """Those of them that int8 files may have."""
        return self.opsets()

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
        return self.missing()

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """As ``write``, in int8.

        Raises:
            ModelRunError: the network can't be brought into this format, or not be quantised there.
        """
        ...

    def read_int8(self, path: Path) -> Reader:
        """Open an int8 file in the way in which it is fast."""
        return self.read(path)
