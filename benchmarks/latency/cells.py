"""One JSON file per cell: a network, a method, a share of the MACs, a runtime, a batch size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.latency.networks import NETS
from convsurgeon.counting import duplicate
from convsurgeon.inputs import Inputs, as_inputs
from convsurgeon.lowering import lower
from convsurgeon.runtimes import Runtime, find_runtime
from convsurgeon.timing import BENCH, Spread, Stopwatch, time_in_turn
from convsurgeon.timing.machine import busy, device_of, place, synchroniser

__all__ = ["DEFAULT_CACHE", "Cell", "Row", "formed", "measured", "precisions", "read_rows", "write_rows"]

DEFAULT_CACHE = Path("benchmarks/.cache/latency")


@dataclass(frozen=True)
class Cell:
    """What is timed; ``lowered`` brings all three networks into their deployment form first, ``on`` is the device."""

    net: str
    method: str
    share: float
    runtime: str
    batch: int
    lowered: bool = True
    on: str = "cpu"

    def path(self, cache: Path) -> Path:
        """Where the cell's rows are kept."""
        form = ("lowered" if self.lowered else "plain") + ("" if self.on == "cpu" else f"-{self.on}")
        name = f"{self.net}-{self.method}-{self.share:.2f}-{self.runtime}-b{self.batch}-{form}.json"
        return cache / name.replace(" ", "_")


@dataclass(frozen=True)
class Row:
    """One precision of a cell: medians and quartiles in ms, shares of the original's MACs, where it was timed."""

    net: str
    method: str
    share: float
    runtime: str
    precision: str
    batch: int
    lowered: bool
    macs_kept: float
    rival_macs_kept: float | None
    original_ms: tuple[float, float, float]
    converted_ms: tuple[float, float, float]
    rival_ms: tuple[float, float, float] | None
    threads: int
    device: str
    torch: str
    note: str = ""
    on: str = "cpu"

    @property
    def ratio(self) -> float:
        """Latency of the converted network over its original's."""
        return self.converted_ms[0] / self.original_ms[0]

    @property
    def rival_ratio(self) -> float | None:
        """The same for channel pruning; None where it failed."""
        return None if self.rival_ms is None else self.rival_ms[0] / self.original_ms[0]


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
        **asdict(cell),
        precision=here.precision,
        macs_kept=shares[0],
        rival_macs_kept=shares[1] if len(shares) > 1 else None,
        original_ms=times[0],
        converted_ms=times[1],
        rival_ms=times[2] if len(times) > 2 else None,
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
    return spread.median_ns / 1e6, spread.low_ns / 1e6, spread.high_ns / 1e6


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_rows(cache: Path) -> Iterator[Row]:
    """Whatever is there."""
    for path in sorted(cache.glob("*.json")):
        for fields in json.loads(path.read_text(encoding="utf-8")):
            times = {k: tuple(v) for k, v in fields.items() if k.endswith("_ms") and v is not None}
            yield Row(**{**fields, **times})
