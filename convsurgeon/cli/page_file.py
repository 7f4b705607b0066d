"""``--html FILE``: where a page goes, and what it may replace."""

from __future__ import annotations

from pathlib import Path

import click

from convsurgeon.base.errors import OutputExists
from convsurgeon.cli.screen import tell

__all__ = ["html_option", "refuse_foreign_page", "write_page"]

html_option = click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page: one file that needs nothing else.",
)

# Early in each page; a page is made anew from what it shows, so it may be replaced.
_OURS = '<meta name="generator" content="convsurgeon">'
_HEAD = 2000


def refuse_foreign_page(path: Path | None) -> None:
    """Refuse a place where something else is, before any work is done; a page of ours may be replaced.

    Raises:
        OutputExists: something else is there.
        UsageError: nothing can be written there.
    """
    if path is None:
        return
    from convsurgeon.base.files import refuse_unwritable

    refuse_unwritable(path)
    if path.exists() and (not path.is_file() or _OURS.encode() not in path.read_bytes()[:_HEAD]):
        raise OutputExists(f"'{path}' exists already and is no page of convsurgeon's; choose another --html FILE.")


def write_page(path: Path, html: str) -> None:
    """Write a page that ``refuse_foreign_page`` let through."""
    from convsurgeon.base.files import write_whole

    refuse_foreign_page(path)
    write_whole(path, html)
    tell(f"page written to {path}")
