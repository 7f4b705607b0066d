"""The inputs that an int8 file's ranges are measured on, and those that it is judged on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.errors import UsageError
from convsurgeon.base.free_axes import FreeAxes, free_in_words
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.quantising.settings import Int8
from convsurgeon.transfer.calibration import Calibration, in_batches, refuse_single

__all__ = ["Int8Data"]


@dataclass(frozen=True)
class Int8Data:
    """Inputs that ranges are measured on, and such as are judged on only; the same ones where there are too few."""

    measured: Sequence[Inputs]
    judged: Sequence[Inputs]
    held_back: bool

    @classmethod
    def of(cls, wanted: Int8, network: nn.Module, example: Inputs, free: FreeAxes) -> Int8Data:
        """Those that are wanted, as ``network`` takes them; of ``example``'s sizes but for the axes that are ``free``.

        Raises:
            UsageError: none, or such as the file can't take.
        """
        calibration = Calibration.of(wanted.calibration, example)
        others = list(_judging(wanted.judging, calibration, network))
        measured = list(calibration.part(network, held_back=False))
        judged = [*calibration.part(network, held_back=True), *others]
        if "batch" not in free:
            size = batch_of(example)
            measured, judged = list(in_batches(measured, size)), list(in_batches(judged, size))
            if not measured:
                raise UsageError(f"the file takes {size} inputs at once, and no calibration batch holds so many.")
        _refuse_other_sizes([*measured, *judged], example, free)
        return cls(measured, judged or measured, held_back=bool(judged))


def _judging(given: Iterable[Any], calibration: Calibration, network: nn.Module) -> Iterator[Inputs]:
    refuse_single(given, "judging")
    for number, element in enumerate(given, 1):
        inputs = calibration.elements.read(element)
        inputs.refuse_unfinite(f"judging batch {number}", "nothing can be judged")
        yield inputs.like(network)


def _refuse_other_sizes(given: Sequence[Inputs], example: Inputs, free: FreeAxes) -> None:
    """Batches are cut to what the file takes; its other axes are the example's, unless they are free."""
    wanted = [_fixed(shape, free) for shape in example.shapes()]
    for inputs in given:
        if [_fixed(shape, free) for shape in inputs.shapes()] != wanted:
            raise UsageError(
                f"inputs are {inputs.describe()}, and the file takes {example.describe()}, with "
                f"{free_in_words(free)}; mind --resize and --crop, or say the size with --input N,C,H,W."
            )


def _fixed(shape: Sequence[int], free: FreeAxes) -> list[int | None]:
    """All lengths but the batch's, without those of [N, C, H, W] that are free."""
    named = ("batch", "channels", "height", "width") if len(shape) == 4 else ()
    return [None if axis < len(named) and named[axis] in free else n for axis, n in enumerate(shape)][1:]
