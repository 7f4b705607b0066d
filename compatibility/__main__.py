"""Rebuild the compatibility matrix.

    scripts/matrix                                  # what docs/matrix.jsonl lacks, then docs/matrix.md
    scripts/matrix --library timm --only 'resnet*'
    scripts/matrix --method narrow --jobs 2         # one column
    scripts/matrix --page-only                      # the page and the summary from what is there

Every network's line is written as soon as it is known, so that a run goes on where it was stopped: methods that were
examined by this version of convsurgeon are not examined again unless ``--redo`` or ``--redo-failed`` asks for it, and
methods that are not asked for keep what was found of them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compatibility.examine import CHECKS, Settings
from compatibility.libraries import LIBRARIES, subjects_of
from compatibility.matrix import Matrix
from compatibility.page import page, summary
from compatibility.pool import examine_all
from compatibility.records import NetworkRow
from compatibility.subjects import Subject
from convsurgeon.base.files import write_whole

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache" / "matrix"
ROWS = "matrix.jsonl"
PAGE = ROOT / "docs" / "matrix.md"
DEFAULTS = Settings()
SCREEN = Console(stderr=True)


@click.command(help=__doc__)
@click.option("--library", "libraries", multiple=True, type=click.Choice(LIBRARIES), help="default: all")
@click.option("--only", multiple=True, metavar="GLOB", help="networks whose name matches; may be given several times")
@click.option("--limit", type=click.IntRange(min=1), help="at most so many networks of each library")
@click.option("--method", "methods", multiple=True, default=DEFAULTS.methods, show_default=True)
@click.option("--check", "checks", multiple=True, type=click.Choice([*CHECKS, "none"]), help="default: all")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="networks at a time")
@click.option(
    "--seconds", type=click.IntRange(min=1), default=DEFAULTS.seconds, show_default=True, help="CPU, per network"
)
@click.option("--gib", type=click.IntRange(min=1), default=DEFAULTS.gib, show_default=True, help="memory per network")
@click.option("--gmacs", type=float, default=DEFAULTS.most_macs / 1e9, show_default=True, help="reduce inputs above")
@click.option("--redo", is_flag=True, help="examine again what is there already")
@click.option("--redo-failed", is_flag=True, help="examine again what failed")
@click.option("--page-only", is_flag=True, help="examine nothing")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="what the scan of timm found")
@click.option("--output", type=click.Path(path_type=Path), default=PAGE, help="the page; matrix.jsonl is beside it")
def main(
    libraries: Sequence[str],
    only: Sequence[str],
    limit: int | None,
    methods: Sequence[str],
    checks: Sequence[str],
    jobs: int,
    seconds: int,
    gib: int,
    gmacs: float,
    redo: bool,
    redo_failed: bool,
    page_only: bool,
    cache: Path,
    output: Path,
) -> None:
    """Examine, then write the page and print the summary."""
    matrix = Matrix(output.with_name(ROWS))
    if not page_only:
        asked_checks = tuple(check for check in checks or CHECKS if check != "none")
        settings = Settings(tuple(methods), int(gmacs * 1e9), seconds=seconds, gib=gib, checks=asked_checks)
        subjects = _subjects(libraries or LIBRARIES, only, limit, cache)
        asked = {s: settings if redo else matrix.lacks(s, settings, redo_failed) for s in subjects}
        _examine({s: lacking for s, lacking in asked.items() if lacking}, matrix, jobs)
    write_whole(output, page(matrix.rows))
    click.echo(summary(matrix.rows))


def _subjects(libraries: Sequence[str], only: Sequence[str], limit: int | None, cache: Path) -> list[Subject]:
    found: list[Subject] = []
    globs = only or ("*",)
    with _bar() as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=f"looking through timm: {name}")

        for library in libraries:
            own = [s for s in subjects_of(library, cache, show) if any(fnmatch.fnmatch(s.name, glob) for glob in globs)]
            if not own:
                SCREEN.print(f"{library}: nothing to examine (not installed, or no name matches {', '.join(globs)})")
            found += own[:limit]
        bar.remove_task(task)
    return found


def _examine(asked: Mapping[Subject, Settings], matrix: Matrix, jobs: int) -> None:
    with _bar() as bar:
        task = bar.add_task("", total=len(asked))

        def finished(row: NetworkRow) -> None:
            matrix.add(row)
            bar.update(task, advance=1, description=row.name)
            for reason in row.failures():
                bar.console.print(f"{row.library} {row.name}: {reason}", style="red", markup=False, highlight=False)

        examine_all(asked, jobs, finished)


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=SCREEN)


if __name__ == "__main__":
    main()
