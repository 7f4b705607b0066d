"""What a conversion brought in time, where that is found out within a second or two."""

from __future__ import annotations

from torch import nn

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.report.record import Timing
from convsurgeon.runtimes.machine import busy, device_of, dtype_name, dtype_of, place, synchroniser
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import QUICK, Spread, Stopwatch, time_in_turn
from convsurgeon.transfer.capture import evaluating

__all__ = ["quick_timing"]

# Seconds that a forward of both networks may take together: some eight rounds follow.
_CHEAP = 0.4


def quick_timing(original: nn.Module, converted: nn.Module, inputs: Inputs) -> Timing | None:
    """One forward of both networks in turn, eager, on the inputs' own batch; None where it takes long or fails.

    Both networks are left as they were.
    """
    device, precision = device_of(original), dtype_name(dtype_of(original))
    try:
        batch = batch_of(inputs)
        with evaluating(original, converted):
            times = _in_turn((original, converted), inputs, precision, Stopwatch(wait=synchroniser(device)))
    except (ModelRunError, UsageError):
        # A conversion is not lost for what is only said beside it.
        return None
    if times is None:
        return None
    where, others = place("eager", precision, device), busy() is not None
    return Timing(place=where, batch=batch, original=times[0], converted=times[1], busy=others)


def _in_turn(
    pair: tuple[nn.Module, nn.Module], inputs: Inputs, precision: str, watch: Stopwatch
) -> tuple[Spread, ...] | None:
    eager = find_runtime("eager")
    runs = [eager.prepare(model, inputs, precision=precision, threads=0) for model in pair]
    if sum(watch.of(run) for run in runs) > _CHEAP * 1e9:
        return None
    return time_in_turn(runs, QUICK, watch)
