"""Rebuild the compatibility matrix.

    scripts/matrix                                  # what is not there yet, then docs/matrix.md and .jsonl
    scripts/matrix --library timm --only 'resnet*'
    scripts/matrix --redo-failed --jobs 2
    scripts/matrix --page-only                      # both files and the summary from what is there

It goes on where it was stopped: a network that was examined by this version of convsurgeon is not examined again
unless ``--redo`` or ``--redo-failed`` asks for it.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compatibility.examine import Settings
from compatibility.libraries import LIBRARIES, subjects_of
from compatibility.page import page, summary
from compatibility.pool import Cache, examine_all
from compatibility.published import published, write_published
from compatibility.records import NetworkRow
from compatibility.subjects import Subject
from convsurgeon import __version__

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache" / "matrix"
PAGE = ROOT / "docs" / "matrix.md"
DEFAULTS = Settings()
SCREEN = Console(stderr=True)


@click.command(help=__doc__)
@click.option("--library", "libraries", multiple=True, type=click.Choice(LIBRARIES), help="default: all")
@click.option("--only", multiple=True, metavar="GLOB", help="networks whose name matches; may be given several times")
@click.option("--limit", type=click.IntRange(min=1), help="at most so many networks of each library")
@click.option("--method", "methods", multiple=True, default=DEFAULTS.methods, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="networks at a time")
@click.option(
    "--seconds", type=click.IntRange(min=1), default=DEFAULTS.seconds, show_default=True, help="CPU, per network"
)
@click.option("--gib", type=click.IntRange(min=1), default=DEFAULTS.gib, show_default=True, help="memory per network")
@click.option("--gmacs", type=float, default=DEFAULTS.most_macs / 1e9, show_default=True, help="reduce inputs above")
@click.option("--redo", is_flag=True, help="examine again what is there already")
@click.option("--redo-failed", is_flag=True, help="examine again what failed")
@click.option("--page-only", is_flag=True, help="examine nothing")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="one JSON file per network")
@click.option("--output", type=click.Path(path_type=Path), default=PAGE, help="the page; its data beside it")
def main(
    libraries: Sequence[str],
    only: Sequence[str],
    limit: int | None,
    methods: Sequence[str],
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
    kept = Cache(cache)
    subjects = _subjects(libraries or LIBRARIES, only, limit, cache)
    if not page_only:
        open_ones = [s for s in subjects if _is_open(kept.read(s.library, s.name), redo, redo_failed)]
        settings = Settings(methods=tuple(methods), most_macs=int(gmacs * 1e9), seconds=seconds, gib=gib)
        _examine(open_ones, settings, kept, jobs)
    rows = [row for s in subjects if (row := kept.read(s.library, s.name)) is not None]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(rows), encoding="utf-8")
    write_published(map(published, rows), output.with_suffix(".jsonl"))
    everything = [row.model_dump(mode="json") for row in rows]
    (cache / "matrix.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    click.echo(summary(rows))


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


def _is_open(row: NetworkRow | None, redo: bool, redo_failed: bool) -> bool:
    if row is None or redo:
        return True
    # A row without versions is one of a process that did not end by itself.
    return row.versions.get("convsurgeon", __version__) != __version__ or (redo_failed and not row.green)


def _examine(subjects: Sequence[Subject], settings: Settings, cache: Cache, jobs: int) -> None:
    with _bar() as bar:
        task = bar.add_task("", total=len(subjects))

        def finished(row: NetworkRow) -> None:
            bar.update(task, advance=1, description=row.name)
            for reason in row.failures():
                bar.console.print(f"{row.library} {row.name}: {reason}", style="red", markup=False, highlight=False)

        examine_all(subjects, settings, cache, jobs, finished)


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=SCREEN)


if __name__ == "__main__":
    main()
