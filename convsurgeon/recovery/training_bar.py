"""The bar of a training run, where people watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from convsurgeon.base.console import PlainConsole, is_watched
from convsurgeon.recovery.moment import MomentCallback

__all__ = ["training_bar"]


@contextmanager
def training_bar() -> Iterator[MomentCallback]:
    """On standard error, gone at the end; yields the callback that is told of every step."""
    console = PlainConsole(stderr=True)
    columns = (TextColumn("recovering"), BarColumn(), TextColumn("{task.fields[words]}", markup=False))
    if not is_watched(console):
        # A disabled bar writes an empty line, in the rich of before 14.3.
        yield lambda at: None
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, words="")
        yield lambda at: bar.update(task, completed=at.step, total=at.total_steps, words=at.describe())
