"""Where output goes: results to standard output, warnings and progress to standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn

from convsurgeon.base.progress import Progress

__all__ = ["is_main_process", "output", "progress_bar", "warn", "working"]

# A pipe has no width; tables that people will read in a file or a log need room for their names.
PIPE_WIDTH = 160


def output() -> Console:
    """The console for results; NO_COLOR and pipes are respected."""
    console = _plain()
    return console if console.is_terminal else _plain(width=PIPE_WIDTH)


def is_main_process() -> bool:
    """Whether this process prints and writes, where a launcher (accelerate, torchrun) started several."""
    return os.environ.get("RANK", "0") == "0"


def warn(text: str) -> None:
    """A warning that nobody overlooks, on standard error; one of several launched processes says it."""
    if not is_main_process():
        return
    _plain(stderr=True).print(f"WARNING: {text}", style="bold yellow", soft_wrap=True)


def _plain(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that takes names as they are: brackets and colons in them are no markup."""
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error, shown once the first stage starts; yields the callback that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = _plain(stderr=True)
    bar = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    stages: dict[str, TaskID] = {}

    def move(stage: str, done: int, total: int, name: str) -> None:
        # A bar that is started and has nothing to show leaves an empty line behind.
        bar.start()
        if stage not in stages:
            stages[stage] = bar.add_task(stage, total=total)
        bar.update(stages[stage], completed=done, description=f"{stage} {name}".rstrip())

    try:
        yield move
    finally:
        if stages:
            bar.stop()


@contextmanager
def working(text: str) -> Iterator[None]:
    """A sign of life on standard error, where people watch, while something runs that has no steps to count."""
    console = _plain(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
