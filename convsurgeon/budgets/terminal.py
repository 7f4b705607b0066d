"""The report as a rich table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line
from convsurgeon.budgets import cells
from convsurgeon.budgets.record import CheckReport

__all__ = ["render"]

_STYLES = {
    "OVER": "bold red",
    "FAILED": "bold red",
    "NOT JUDGED": "bold red",
    "warning": "yellow",
    "off": "dim",
    "note": "dim",
}
_EXIT_STYLES = {0: "bold green"}


def render(report: CheckReport, *, why: bool = False) -> RenderableType:
    """The table, what needs saying, the layers responsible where ``why`` asks for them, and the verdict."""
    table = Table(header_style="bold")
    for number, title in enumerate(cells.header(report)):
        table.add_column(title, justify="right" if 2 <= number < len(cells.header(report)) - 1 else "left")
    previous = None
    for row, texts in cells.rows(report):
        if previous is not None and row is not previous:
            table.add_section()
        table.add_row(*map(on_one_line, texts), style=_STYLES.get(texts[-1], ""))
        previous = row
    lines = [_line(f"{verdict}: {text}", _STYLES[verdict]) for verdict, text in cells.sentences(report)]
    verdict = _line(cells.summary(report), _EXIT_STYLES.get(report.exit_code, "bold red"))
    return Group(table, *lines, *(_why(report) if why else []), verdict)


def _line(text: str, style: str = "") -> Text:
    """A sentence that stays on one line, so that a log can be searched for it; a terminal wraps it itself."""
    return Text(on_one_line(text), style=style, no_wrap=True, overflow="ignore")


def _why(report: CheckReport) -> list[Text]:
    lines = []
    for row in report.rows:
        responsible = cells.why(row)
        if responsible:
            against = f" against {row.why_against}" if row.why_against else ", largest layers"
            lines.append(_line(f"why {row.name}{against}:", "bold"))
            lines += [_line(f"  {text}") for text in responsible]
    return lines
