"""The report of ``check`` as a page."""

from __future__ import annotations

from convsurgeon.budgets import cells
from convsurgeon.budgets.record import CheckReport
from convsurgeon.report.page import draw
from convsurgeon.report.page.blocks import Figure, Page, Section, Sentences, Table

__all__ = ["to_html"]

_MARKS = {"OVER": "over", "FAILED": "failed", "NOT JUDGED": "failed", "warning": "over"}
_WORST_FIRST = ("failed", "over", "warn", "ok", "no limit", "off")


def to_html(report: CheckReport, command: str) -> str:
    """One self-contained file, the layers responsible included; ``command`` is the one that checked."""
    counts = {status: sum(row.status == status for row in report.rows) for status in _WORST_FIRST}
    sentences = tuple(f"{verdict}: {text}" for verdict, text in cells.sentences(report))
    page = Page(
        title="Budgets",
        verdict=cells.summary(report),
        figures=tuple(Figure(cells.VERDICTS[status], str(count)) for status, count in counts.items() if count),
        sections=(
            *([Section("What needs saying", (Sentences(sentences),))] if sentences else []),
            Section("Every number", (_numbers(report),)),
            *_why(report),
        ),
        made_by=f"convsurgeon {report.convsurgeon}: {command}",
    )
    return draw.to_html(page)


def _numbers(report: CheckReport) -> Table:
    header = cells.header(report)
    drawn = cells.rows(report)
    # A phone shows each line by itself, so each bears its entry's name.
    rows = tuple((row.name, *texts[1:]) for row, texts in drawn)
    marks = tuple(_MARKS.get(texts[-1], "") for _, texts in drawn)
    return Table(f"From {report.config}.", header, rows, frozenset(range(2, len(header) - 1)), marks)


def _why(report: CheckReport) -> list[Section]:
    sections = []
    for row in report.rows:
        responsible = cells.why(row) if row.why else []
        if responsible:
            against = f"against {row.why_against}" if row.why_against else "largest layers"
            sections.append(Section(f"Why {row.name}: {against}", (Sentences(tuple(responsible)),)))
    return sections
