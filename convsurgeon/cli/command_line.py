"""The command line that runs, as it was typed."""

from __future__ import annotations

import shlex

import click

from convsurgeon.base.outside_text import in_unicode

__all__ = ["command_line"]


def command_line() -> str:
    """Ready to be pasted into a shell; ``run`` leaves the arguments with the root of the contexts."""
    arguments: tuple[str, ...] = click.get_current_context().find_root().obj or ()
    return in_unicode(shlex.join(["convsurgeon", *arguments]))
