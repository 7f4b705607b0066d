"""Runs the stages of an examination: turns what each raises into a check, and says where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from compatibility.records import Check, State

__all__ = ["LeftOut", "Stages", "Wrong", "said"]

T = TypeVar("T")


class Wrong(Exception):
    """A stage ran and its answer is wrong; the message says what was found and what was expected."""


class LeftOut(Exception):
    """A stage does not apply; the message says why."""


def said(error: BaseException) -> str:
    """Class and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Stages:
    """The checks of one network or of one method on it."""

    def __init__(self, at: Callable[[str], None], prefix: str = "") -> None:
        self.checks: dict[str, Check] = {}
        self._at, self._prefix = at, prefix

    def run(self, name: str, stage: Callable[[], T]) -> T | None:
        """The stage's value, or None where it failed or was left out."""
        self._at(f"{self._prefix}{name}")
        value = None
        state: State = "ok"
        why = ""
        try:
            value = stage()
        except LeftOut as reason:
            state, why = "left out", str(reason)
        except Wrong as problem:
            state, why = "failed", str(problem)
        except Exception as error:
            # Any code may stand in a network, and no failure may pass silently: it becomes a named row.
            state, why = "failed", said(error)
        self.checks[name] = Check(state=state, why=why)
        return value
