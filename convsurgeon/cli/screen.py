"""Where output goes: results to standard output, warnings and progress to standard error."""

from __future__ import annotations

from rich.console import Console

__all__ = ["output", "warn"]

# A pipe has no width; tables that people will read in a file or a log need room for their names.
PIPE_WIDTH = 160


def output() -> Console:
    """The console for results; NO_COLOR and pipes are respected."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def warn(text: str) -> None:
    """A warning that nobody overlooks, on standard error."""
    Console(stderr=True, highlight=False).print(f"WARNING: {text}", style="bold yellow", soft_wrap=True)
