"""The bar of a training run, where people watch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from convsurgeon.base.console import PlainConsole, is_watched
from convsurgeon.recovery.moment import Moment, MomentCallback

__all__ = ["training_bar"]


@contextmanager
def training_bar() -> Iterator[MomentCallback]:
    """On standard error, gone at the end; yields the callback that is told of every step.

    What learns along (the groups of each layer, and how far the budget is met) has a row of its own below.
    """
    console = PlainConsole(stderr=True)
    if not is_watched(console):
        # A disabled bar writes an empty line, in the rich of before 14.3.
        yield lambda at: None
        return
    columns = (TextColumn("recovering"), BarColumn(), TextColumn("{task.fields[words]}", markup=False))
    with _Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, words="")

        def show(at: Moment) -> None:
            bar.status = at.status
            words = replace(at, status="").describe()
            bar.update(task, completed=at.step, total=at.total_steps, words=words)

        yield show


class _Bar(Progress):
    """With a line of words below, cut where the terminal ends."""

    status = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and the line where there is something to say."""
        yield from super().get_renderables()
        if self.status:
            yield Text(self.status, no_wrap=True, overflow="ellipsis")
