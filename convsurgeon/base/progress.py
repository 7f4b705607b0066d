"""What long work tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "silent"]

# Called with the stage ("measuring damage", "fitting"), steps done, steps in all, and the name of the next one.
Progress = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, name: str) -> None:
    """Progress that nobody is shown."""
