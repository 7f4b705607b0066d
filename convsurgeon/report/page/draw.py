"""From blocks to HTML: one file that asks nothing of the network and needs no script."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from convsurgeon.base.outside_text import visible
from convsurgeon.report.chart import CHART_STYLE, bar_pair
from convsurgeon.report.page.blocks import Page

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["fragment", "to_html"]


def to_html(page: Page) -> str:
    """The whole page, with its style; light or dark as the reader's system is."""
    return _environment().get_template("page.html.j2").render(page=page, chart_style=CHART_STYLE)


def fragment(page: Page) -> str:
    """The same without a document around it, for a notebook's cell, whose own style it keeps."""
    return _environment().get_template("fragment.html.j2").render(page=page, chart_style=CHART_STYLE)


@cache
def _environment() -> Environment:
    # Not at the top: who looks at a report in the terminal does not wait for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("convsurgeon.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.globals["bar_pair"] = bar_pair
    return environment


def _shown(value: Any) -> Any:
    """Texts without signs that turn round or hide what stands beside them; markup, which has ``__html__``, as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
