"""Where output goes: results to standard output, warnings and progress to standard error; all of it visible text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich import progress
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line, visible
from convsurgeon.base.progress import Progress
from convsurgeon.cli.standard_output import answers

__all__ = ["PlainConsole", "answer", "is_main_process", "progress_bar", "say", "show", "tell", "warn", "working"]

# A pipe has no width; tables that people will read in a file or a log need room for their names.
PIPE_WIDTH = 160


class PlainConsole(Console):
    """A console that takes texts as they are: nothing in them is markup, and what a terminal obeys is escaped."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Escape before widths are measured."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape whatever came here without ``render_str``."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Let the caller know; rich would end the program."""
        raise


def answer(text: str) -> None:
    """A whole text on standard output; what is JSON stays the same JSON."""
    click.echo(visible(text), file=answers(), nl=not text.endswith("\n"))


def say(line: str) -> None:
    """A sentence on standard output, on a line of its own."""
    click.echo(on_one_line(line), file=answers())


def show(drawn: RenderableType, *, crop: bool = True) -> None:
    """Tables on standard output; NO_COLOR and pipes are respected."""
    console = PlainConsole(file=answers())
    if not console.is_terminal:
        console = PlainConsole(file=answers(), width=PIPE_WIDTH)
    console.print(drawn, crop=crop)


def tell(text: str) -> None:
    """Text on standard error."""
    click.echo(visible(text), err=True)


def is_main_process() -> bool:
    """Whether this process prints and writes, where a launcher (accelerate, torchrun) started several."""
    return os.environ.get("RANK", "0") == "0"


def warn(text: str) -> None:
    """A warning that nobody overlooks, on standard error; one of several launched processes says it."""
    if not is_main_process():
        return
    PlainConsole(stderr=True).print(f"WARNING: {on_one_line(text)}", style="bold yellow", soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error, shown once the first stage starts; yields the callback that moves it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = PlainConsole(stderr=True)
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
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text)):
        yield
