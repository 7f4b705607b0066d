"""Ways of writing a file that several formats share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.free_axes import FreeAxes, axes_to_try, free_in_words
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import ToQuantise, Wanted, Written

__all__ = ["by_way_of_float", "with_free_axes"]


def with_free_axes(write: Callable[[FreeAxes], None], wanted: Wanted) -> Written:
    """Written with the first of the axes free that the library finds that the network allows.

    Raises:
        ModelRunError: with none of them, each with its reason.
    """
    problems: list[str] = []
    for axes in axes_to_try(wanted.free):
        try:
            write(axes)
        except ModelRunError as error:
            problems.append(f"not {free_in_words(axes)}: {str(error).rstrip('.')}")
            continue
        return Written(axes, tuple(problems))
    raise ModelRunError(f"{'; '.join(problems)}.")


def by_way_of_float(
    write: Callable[[nn.Module, Inputs, Path, Wanted], Written],
    quantise: Callable[[Path, Sequence[Inputs], Collection[str], Path], None],
    source: ToQuantise,
    path: Path,
) -> Written:
    """For a library that makes an int8 file of a file in float, which is written aside."""
    with TemporaryDirectory() as folder:
        aside = Path(folder) / path.name
        written = write(source.network, source.inputs, aside, source.wanted)
        quantise(aside, source.calibration, source.in_float, path)
    return written
