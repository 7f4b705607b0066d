"""Where output goes: results to standard output, warnings and progress to standard error; all of it visible text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import RenderableType
from rich.text import Text

from convsurgeon.base.console import PlainConsole
from convsurgeon.base.outside_text import on_one_line, visible
from convsurgeon.base.progress_bar import progress_bar
from convsurgeon.cli.standard_output import answers

__all__ = ["PlainConsole", "answer", "is_main_process", "progress_bar", "say", "show", "tell", "warn", "working"]

# A pipe has no width; tables that people will read in a file or a log need room for their names.
PIPE_WIDTH = 160


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
def working(text: str) -> Iterator[None]:
    """A sign of life on standard error, where people watch, while something runs that has no steps to count."""
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text)):
        yield
