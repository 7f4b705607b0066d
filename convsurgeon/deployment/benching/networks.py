"""The verb: two networks, in turn, per runtime and batch size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.copies import duplicate
from convsurgeon.base.devices import require_weights
from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.progress import Progress
from convsurgeon.base.progress_bar import telling
from convsurgeon.deployment.benching.layers import layer_rows
from convsurgeon.deployment.benching.record import BenchFigure, BenchReport, BenchRow, realised_share
from convsurgeon.deployment.lowering import lower
from convsurgeon.planning.plan import CostRecord
from convsurgeon.runtimes.int8_processor import INT8
from convsurgeon.runtimes.machine import busy, device_of, dtype_of, place, synchroniser, threads
from convsurgeon.runtimes.memory import peak_bytes
from convsurgeon.runtimes.registry import RUNTIMES, Runtime, parse_runtimes, require
from convsurgeon.runtimes.timer import BENCH, Effort, Spread, Stopwatch, time_in_turn
from convsurgeon.survey.counting import count

__all__ = ["bench"]


@dataclass(frozen=True)
class _Job:
    """One row to fill."""

    runtime: Runtime
    precision: str
    batch: int


def bench(
    original: nn.Module,
    converted: nn.Module | None,
    example_inputs: Any,
    *,
    batches: Iterable[int] = (1,),
    runtimes: str | Iterable[str] | None = None,
    threads_used: int | None = None,
    layers: bool = False,
    lowered: bool = False,
    int8: bool = False,
    seconds: float | None = None,
    name: str = "model",
    progress: Progress | bool | None = None,
) -> BenchReport:
    """Time one forward of a network and of its converted twin in turn; both are untouched.

    Args:
        original: the network, on the device to time on.
        converted: its twin on the same device; None times the original alone.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        batches: batch sizes; the inputs are repeated or cut to them.
        runtimes: names, or ``"eager,onnxruntime"``; without it, every one that is installed.
        threads_used: CPU threads, for every runtime; torch's own number without it.
        layers: also time each convolution inside the running networks, eager.
        lowered: bring both networks into their deployment form first (batch norm folded, copies avoided).
        int8: also time both networks lowered and quantised, in the runtimes that can; ranges are the example inputs'.
        seconds: of samples for each network and row (default 3).
        name: of the network, for the report.
        progress: called with the stage, rows done, rows in all, and the next row; a bar by itself, False for none.

    Raises:
        UsageError: an unknown runtime, one that was named and is not installed, a batch or thread count below 1,
            layers of lowered networks.
        ModelLoadError: the original is no module, or on the meta device.
        ModelRunError: a network fails on the inputs, or can't be brought into a runtime that was named, or into any.
    """
    inputs = as_inputs(example_inputs).like(original)
    require_weights(original, "timed")
    pair = [duplicate(model).eval() for model in (original, converted) if model is not None]
    costs = [count(model, inputs) for model in pair]
    macs_ratio = costs[1].macs / costs[0].macs if converted is not None and costs[0].macs else None
    if lowered and layers:
        raise UsageError("layers lose their names when networks are lowered; ask for --layers or for --lowered.")
    chosen = _chosen(runtimes)
    note = busy()
    effort = BENCH if seconds is None else _lasting(seconds)
    sizes = tuple(dict.fromkeys(batches)) or (1,)
    with threads(threads_used), telling(progress) as tell:
        table = _Table(pair, inputs, effort, macs_ratio, lowered)
        rows, failed = table.rows(_precisions(chosen, dtype_of(pair[0]), int8), sizes, tell, named=runtimes is not None)
        found = layer_rows(pair, inputs, sizes, effort) if layers else ()
    return BenchReport(
        model=name,
        lowered=lowered,
        input_shapes=inputs.shapes(),
        original=CostRecord.of(costs[0]),
        converted=CostRecord.of(costs[1]) if converted is not None else None,
        macs_ratio=macs_ratio,
        rows=rows,
        layers=found,
        notes=(note,) if note else (),
        absent={
            **{runtime.name: reason for runtime in RUNTIMES if (reason := runtime.available()) is not None},
            **(_without_int8(chosen) if int8 else {}),
        },
        failed=failed,
    )


def _chosen(names: str | Iterable[str] | None) -> tuple[Runtime, ...]:
    """The named runtimes, or all that are here."""
    if names is None:
        return tuple(runtime for runtime in RUNTIMES if runtime.available() is None)
    chosen = parse_runtimes(names)
    for runtime in chosen:
        require(runtime)
    return chosen


def _precisions(
    runtimes: Sequence[Runtime], dtype: torch.dtype, int8: bool
) -> tuple[tuple[Runtime, tuple[str, ...]], ...]:
    """What each runtime is to be timed in."""
    also = (INT8,) if int8 else ()
    return tuple((r, (*r.precisions(dtype), *(also if r.int8_missing() is None else ()))) for r in runtimes)


def _without_int8(runtimes: Sequence[Runtime]) -> dict[str, str]:
    return {f"{r.name} {INT8}": reason for r in runtimes if (reason := r.int8_missing()) is not None}


def _lasting(seconds: float) -> Effort:
    return Effort(min(BENCH.warm_up_s, seconds), seconds, BENCH.fewest, BENCH.most, BENCH.sample_s)


@dataclass(frozen=True)
class _Table:
    """What all rows share."""

    pair: Sequence[nn.Module]
    inputs: Inputs
    effort: Effort
    macs_ratio: float | None
    lowered: bool

    def rows(
        self,
        runtimes: Sequence[tuple[Runtime, Sequence[str]]],
        batches: Sequence[int],
        tell: Progress,
        *,
        named: bool,
    ) -> tuple[tuple[BenchRow, ...], dict[str, str]]:
        """A row for each job; a runtime that nobody named may fail, and says why, as long as another runs."""
        jobs = [
            _Job(r, precision, batch) for r, precisions in runtimes for precision in precisions for batch in batches
        ]
        rows, failed = [], {}
        for done, job in enumerate(jobs):
            tell("timing", done, len(jobs), f"{job.runtime.name} {job.precision} batch {job.batch}")
            try:
                rows.append(self._row(job))
            except ModelRunError as error:
                if named:
                    raise
                failed[job.runtime.name] = str(error)
        tell("timing", len(jobs), len(jobs), "")
        if failed and not rows:
            first, reason = next(iter(failed.items()))
            raise ModelRunError(f"nothing was timed, as every runtime failed ({', '.join(failed)}). {first}: {reason}")
        return tuple(rows), failed

    def _row(self, job: _Job) -> BenchRow:
        device, inputs = device_of(self.pair[0]), rebatched(self.inputs, job.batch)
        # Quantisers leave batch norms in float.
        lowered = self.lowered or job.precision == INT8
        runs, memory = [], []
        for model in self.pair:
            if lowered:
                # The original too: its batch norms fold just as well.
                model = lower(model, inputs, runtime=job.runtime.name, precision=self._forms_timed_in(job)).model.eval()
            run = job.runtime.prepare(model, inputs, precision=job.precision, threads=torch.get_num_threads())
            memory.append(peak_bytes(run, device))
            runs.append(run)
        times = time_in_turn(runs, self.effort, Stopwatch(wait=synchroniser(device)))
        figures = [_figure(spread, job.batch, peak) for spread, peak in zip(times, memory, strict=True)]
        ratio = times[1].median_ns / max(times[0].median_ns, 1) if len(times) > 1 else None
        return BenchRow(
            place=place(job.runtime.name, job.precision, device),
            batch=job.batch,
            batch_norm="folded by lowering" if lowered else job.runtime.batch_norm,
            original=figures[0],
            converted=figures[1] if len(figures) > 1 else None,
            ratio=ratio,
            realised=None if ratio is None or self.macs_ratio is None else realised_share(ratio, self.macs_ratio),
        )

    def _forms_timed_in(self, job: _Job) -> str:
        """A precision that lowering knows: forms for int8 are those of float."""
        return job.runtime.preferred(dtype_of(self.pair[0])) if job.precision == INT8 else job.precision


def _figure(latency: Spread, batch: int, memory: int | None) -> BenchFigure:
    return BenchFigure(latency=latency, throughput=batch * 1e9 / max(latency.median_ns, 1), memory=memory)
