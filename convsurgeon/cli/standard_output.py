"""Keeps standard output for answers."""

from __future__ import annotations

import os
import sys

__all__ = ["reserve_standard_output"]


def reserve_standard_output() -> None:
    """Send what compiled code prints by itself to standard error; Python's own output stays where it was.

    HiGHS prints a line of its own for some problems, whatever it is told, in the middle of our JSON. Nothing happens
    where either stream is closed.
    """
    if sys.stdout is None:
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
    buffering = 1 if sys.stdout.line_buffering else -1
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    sys.stdout = os.fdopen(answers, "w", buffering, encoding, errors)
