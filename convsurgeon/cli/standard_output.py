"""Keeps standard output for answers."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["drop_output", "is_broken_pipe", "reader_may_leave", "reserve_standard_output"]


def reserve_standard_output() -> None:
    """Send what compiled code prints by itself to standard error; Python's own output stays where it was.

    HiGHS prints a line of its own for some problems, whatever it is told, in the middle of our JSON. Nothing happens
    where either stream is closed.
    """
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
    except SystemExit as error:
        if not is_broken_pipe(error):
            raise
        drop_output()


def is_broken_pipe(error: SystemExit) -> bool:
    """Whether click or rich turned a broken pipe into this exit, with code 1, which means something else here."""
    # click leaves after its handler has ended, and only the stream that it puts in place tells of the reason.
    return isinstance(error.__context__, BrokenPipeError) or type(sys.stdout).__name__.endswith("PacifyFlushWrapper")


def drop_output() -> None:
    """What is still buffered goes nowhere, so that the interpreter does not fail on it at its end."""
    # A stream that was put in the place of standard output may have no descriptor.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno() if sys.stdout else 1)
