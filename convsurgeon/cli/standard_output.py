"""Keeps standard output for answers: what else prints there, prints to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TextIO

from convsurgeon.base.outside_text import ESCAPING

__all__ = [
    "answers",
    "answers_apart",
    "drop_output",
    "is_broken_pipe",
    "reader_may_leave",
    "reserve_standard_output",
]

_ANSWERS: ContextVar[TextIO | None] = ContextVar("answers")


def answers() -> TextIO:
    """The stream of answers; it leads nowhere where standard output is closed."""
    return _ANSWERS.get(sys.stdout) or io.StringIO()


@contextmanager
def answers_apart() -> Iterator[None]:
    """While a command runs, a model's code prints to standard error; ``answers`` leads where standard output led."""
    token = _ANSWERS.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _ANSWERS.reset(token)


def reserve_standard_output() -> None:
    """Send what compiled code and child processes print by themselves to standard error; Python's own output stays.

    HiGHS prints a line of its own for some problems, whatever it is told, in the middle of our JSON. Nothing happens
    where either stream is closed. What the stream's encoding can't express is shown escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=ESCAPING)
    if sys.stdout is None or sys.stderr is None:
        return
    try:
        sys.stdout.flush()
        answers = os.dup(sys.stdout.fileno())
    except OSError:
        return
    try:
        os.dup2(2, 1)
    except OSError:
        os.close(answers)
        return
    old = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(answers, "w")),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=bool(old.line_buffering),
        write_through=getattr(old, "write_through", False),
    )


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print what nobody may read any more (``| head``, ``| true``): the work, and its exit code, go on."""
    try:
        yield
    except BrokenPipeError:
        drop_output()


def is_broken_pipe() -> bool:
    """Whether click turned a broken pipe into an exit with code 1, which means something else here."""
    # click leaves after its handler has ended, and only the stream that it puts in place tells of the reason.
    return type(sys.stdout).__name__.endswith("PacifyFlushWrapper")


def drop_output() -> None:
    """What is still buffered goes nowhere, so that the interpreter does not fail on it at its end."""
    # A stream that was put in the place of standard output may have no descriptor.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers().fileno())
