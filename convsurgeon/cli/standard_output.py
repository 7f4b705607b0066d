"""Keeps standard output for answers."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["reserve_standard_output"]


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
