"""Milliseconds of converted networks beside their originals; only what the cache still has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import convsurgeon
from benchmarks.real.cells import network_folder
from benchmarks.real.row import Row, Time
from benchmarks.real.subjects import SUBJECTS
from convsurgeon.deployment.benching import BenchRow

__all__ = ["timed"]

RUNTIMES = ("eager", "onnxruntime")


def timed(subject: str, method: str | None, rows: Sequence[Row], cache: Path) -> Iterator[Row]:
    """The rows with this machine's times, each network lowered and in turn with its original, in float32."""
    chosen = [row for row in rows if row.subject == subject and row.plan and method in (None, row.method)]
    found = [(row, network_folder(cache, subject, row.plan)) for row in chosen]
    if not any(folder.is_dir() for _, folder in found):
        return
    case = SUBJECTS[subject].build()
    for row, folder in found:
        if folder.is_dir():
            network = convsurgeon.load(folder, model=case.model)
            report = convsurgeon.bench(case.model, network, case.example_inputs, runtimes=RUNTIMES, lowered=True)
            yield row.model_copy(update={"times": tuple(_time(line) for line in report.rows)})


def _time(line: BenchRow) -> Time:
    assert line.converted is not None
    return Time(
        runtime=line.place.runtime,
        original_ms=line.original.latency.median_ms,
        ms=line.converted.latency.median_ms,
        threads=line.place.threads,
        device=line.place.device,
    )
