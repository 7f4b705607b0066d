"""Size, time, top-1 and agreement of networks in float32 and in int8, in each runtime; resumable.

    python -m benchmarks.int8 make --subject vgg                 # the rows that are missing, and their files
    python -m benchmarks.int8 make --subject efficientnet-lite0  # after benchmarks.real, with its --cache
    python -m benchmarks.int8 time --subject vgg                 # all files in turn, on a quiet machine
    python -m benchmarks.int8 page                               # tables and plots in docs/

Needs the extras onnx, openvino, int8 and litert, and torch-pruning; a runtime that is not installed is left out, and
its rows may be made in another environment. The trained networks are those of benchmarks.accuracy, seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks.accuracy.data import DEFAULT_DIR
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.train import DEFAULT_CACHE
from benchmarks.int8.files import RUNTIMES, Writer, format_of
from benchmarks.int8.page import pictures, tables
from benchmarks.int8.row import Row, merged
from benchmarks.int8.subjects import METHODS, trained_by_others, trained_here
from benchmarks.int8.times import timed
from benchmarks.places import filled
from benchmarks.real.__main__ import HERE as REAL
from benchmarks.real.row import Row as RealRow
from benchmarks.rows import read_rows, write_rows
from convsurgeon.runtimes.machine import busy, threads

ROWS = Path(__file__).with_name("rows.jsonl")
LOG = Console(stderr=True)
OTHERS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2")
subject_option = click.option(
    "--subject", type=click.Choice([*sorted(NETS), *OTHERS]), default="vgg", show_default=True
)
cache_option = click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
rows_option = click.option("--rows", "file", type=click.Path(path_type=Path), default=ROWS, show_default=True)


@click.group(help=__doc__)
def main() -> None:
    """Show the commands."""


@main.command()
@subject_option
@cache_option
@rows_option
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
@click.option("--method", "methods", multiple=True, default=METHODS, show_default=True)
@click.option("--steps", type=click.IntRange(0), default=100, show_default=True, help="Of training; 0 for none.")
def make(subject: str, cache: Path, file: Path, data: Path, methods: Sequence[str], steps: int) -> None:
    """Write and judge the files whose rows are missing."""
    found = (
        trained_by_others(subject, cache, read_rows(RealRow, REAL / "rows.jsonl"))
        if subject in OTHERS
        else trained_here(subject, methods, cache, data, steps)
    )
    formats = _installed()
    writer = None
    for network in found.networks:
        known = {row.format for row in read_rows(Row, file) if (row.subject, row.which) == (subject, network.which)}
        if missing := [name for name in formats if name not in known]:
            writer = writer or Writer.of(found, cache / "int8")
            for pair in writer.rows(network, missing):
                write_rows(merged(read_rows(Row, file), pair), file)
                LOG.print(*(f"{row.cell}: {row.top1} {row.agreement}" for row in pair), sep="\n", markup=False)


@main.command()
@subject_option
@cache_option
@rows_option
@click.option("--threads", "count", type=click.IntRange(1), default=1, show_default=True)
def time(subject: str, cache: Path, file: Path, count: int) -> None:
    """Time one forward of one image in the files that were made here, and put it into their rows."""
    if reason := busy():
        LOG.print(reason, markup=False)
    for name in _installed():
        rows = [row for row in read_rows(Row, file) if (row.subject, row.format) == (subject, name)]
        if rows:
            with threads(count):
                write_rows(merged(read_rows(Row, file), timed(rows, cache / "int8")), file)


@main.command()
@rows_option
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def page(file: Path, docs: Path) -> None:
    """Put the tables into their places, write the plots."""
    rows, text = read_rows(Row, file), docs / "int8.md"
    text.write_text(filled(text.read_text(encoding="utf-8"), tables(rows)), encoding="utf-8")
    for path in pictures(rows, docs):
        LOG.print(f"wrote {path}", markup=False)


def _installed() -> list[str]:
    """The runtimes that are here; a word on each of the others."""
    reasons = {name: format_of(name).int8_missing() for name in RUNTIMES}
    for name, reason in reasons.items():
        if reason is not None:
            LOG.print(f"without {RUNTIMES[name]}: {reason}", markup=False)
    return [name for name, reason in reasons.items() if reason is None]


if __name__ == "__main__":
    main()
