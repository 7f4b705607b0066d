"""The ways to show a report; this table is the only place that names them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import RenderableType

from convsurgeon.report.markdown import to_markdown
from convsurgeon.report.page.conversion import to_html
from convsurgeon.report.record import Report
from convsurgeon.report.terminal import render

__all__ = ["RENDERERS"]

# Text is written as it is, everything else is drawn on the console.
RENDERERS: Mapping[str, Callable[[Report], RenderableType]] = {
    "terminal": render,
    "markdown": to_markdown,
    "json": Report.to_json,
    "html": to_html,
}
