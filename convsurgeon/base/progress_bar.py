"""A progress bar on standard error, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich import progress
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn

from convsurgeon.base.console import PlainConsole, is_watched
from convsurgeon.base.progress import Progress, silent

__all__ = ["progress_bar", "telling"]


def telling(given: Progress | bool | None) -> AbstractContextManager[Progress]:
    """Who is told: the caller's own, nobody (False), or a bar where people watch (None or True)."""
    if given is False:
        return nullcontext(silent)
    return progress_bar() if given is None or given is True else nullcontext(given)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar that is shown once the first stage starts; yields the callback that moves it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = PlainConsole(stderr=True)
    if not is_watched(console):
        # A disabled bar writes an empty line, in the rich of before 14.3.
        yield silent
        return
    bar = progress.Progress(*columns, console=console, transient=True)
    stages: dict[str, TaskID] = {}

    def move(stage: str, done: int, total: int, name: str) -> None:
        # A bar that is started and has nothing to show leaves an empty line behind.
        bar.start()
        if stage not in stages:
            stages[stage] = bar.add_task(stage, total=total)
        bar.update(stages[stage], completed=done, total=total, description=f"{stage} {name}".rstrip())

    try:
        yield move
    finally:
        if stages:
            bar.stop()
