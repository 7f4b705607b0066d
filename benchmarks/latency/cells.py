"""A cell is timed: the original, the converted and the pruned network in turn, once for each precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.latency.networks import NETS
from benchmarks.latency.rows import Cell, Row
from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.deployment.lowering import lower
from convsurgeon.runtimes.machine import busy, device_of, place, synchroniser
from convsurgeon.runtimes.registry import Runtime, find_runtime
from convsurgeon.runtimes.timer import BENCH, Spread, Stopwatch, time_in_turn

__all__ = ["formed", "measured", "precisions"]


def precisions(cell: Cell) -> tuple[str, ...]:
    """What the cell's runtime calculates in: one row each."""
    return find_runtime(cell.runtime).precisions(torch.float32)


def formed(cell: Cell, model: nn.Module, precision: str) -> nn.Module:
    """The network as the cell times it: on its device; lowered for runtime, precision and batch if the cell says so."""
    network = duplicate(model).to(cell.on)
    if not cell.lowered:
        return network
    return lower(network, _inputs(cell, network), runtime=cell.runtime, precision=precision).model


def measured(cell: Cell, precision: str, models: Sequence[nn.Module], shares: Sequence[float]) -> Row:
    """Time the original, the converted and, if there is one, the pruned network in turn.

    ``models`` are formed for the cell and the precision, ``shares`` what the second and the third keep of the
    original's MACs.
    """
    note, here = busy() or "", place(cell.runtime, precision, torch.device(cell.on))
    times = [_ms(spread) for spread in _timed(find_runtime(cell.runtime), precision, models, _inputs(cell, models[0]))]
    return Row(
        **cell.model_dump(),
        precision=here.precision,
        macs_kept=shares[0],
        rival_macs_kept=shares[1] if len(shares) > 1 else None,
        original_ms=times[0],
        converted_ms=times[1],
        rival_ms=times[2][0] if len(times) > 2 else None,
        threads=here.threads,
        device=here.device,
        torch=here.torch,
        note=note,
    )


def _inputs(cell: Cell, model: nn.Module) -> Inputs:
    return as_inputs(NETS[cell.net].image(cell.batch)).like(model)


def _timed(runtime: Runtime, precision: str, models: Sequence[nn.Module], inputs: Inputs) -> tuple[Spread, ...]:
    threads = torch.get_num_threads()
    runs = [runtime.prepare(model, inputs, precision=precision, threads=threads) for model in models]
    return time_in_turn(runs, BENCH, Stopwatch(wait=synchroniser(device_of(models[0]))))


def _ms(spread: Spread) -> tuple[float, float, float]:
    """Median and quartiles, to the microsecond."""
    median, low, high = (round(ns / 1e6, 3) for ns in (spread.median_ns, spread.low_ns, spread.high_ns))
    return median, low, high
