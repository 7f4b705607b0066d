"""A console that shows texts as they are, for the terminal and for strings."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from convsurgeon.base.outside_text import visible

__all__ = ["PlainConsole", "as_text", "is_watched"]


class PlainConsole(Console):
    """A console that takes texts as they are: nothing in them is markup, and what a terminal obeys is escaped."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Escape before widths are measured."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape whatever came here without ``render_str``."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Let the caller know; rich would end the program."""
        raise


def is_watched(console: Console) -> bool:
    """Whether people see a bar move there; in notebooks rich draws one with widgets, where they are installed."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def as_text(drawn: RenderableType) -> str:
    """What a terminal as wide as the present one shows, without colours."""
    console = PlainConsole(file=io.StringIO(), width=shutil.get_terminal_size((100, 24)).columns)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
