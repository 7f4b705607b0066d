"""All files of a subject timed in turn, a runtime at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.int8.files import PRECISIONS, file_of, format_of
from benchmarks.int8.row import ORIGINAL, Row, Time
from convsurgeon.base.inputs import as_inputs
from convsurgeon.runtimes.machine import device_name
from convsurgeon.runtimes.timer import BENCH, time_in_turn

__all__ = ["timed"]


def timed(rows: Sequence[Row], folder: Path) -> Iterator[Row]:
    """Rows of one subject and format with the times of those of their files that are in ``folder``."""
    kind, inputs = format_of(rows[0].format), as_inputs(torch.rand(rows[0].shape))
    files = {row: file_of(folder, row.subject, row.which, row.precision, kind) for row in rows}
    rows = [row for row in rows if files[row].is_file()]
    readers = [(kind.read_int8 if row.precision == PRECISIONS[1] else kind.read)(files[row]) for row in rows]
    spreads = time_in_turn([lambda reader=reader: reader(inputs) for reader in readers], BENCH)
    ms = {row.cell: spread.median_ms for row, spread in zip(rows, spreads, strict=True)}
    whole = next(ms[row.cell] for row in rows if (row.which.method, row.precision) == (ORIGINAL, PRECISIONS[0]))
    machine = f"{device_name(torch.device('cpu'))}, threads: {torch.get_num_threads()}"
    for row in rows:
        yield row.model_copy(update={"time": Time(percent=100 * ms[row.cell] / whole, machine=machine)})
