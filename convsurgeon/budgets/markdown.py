"""The report as Markdown, for job summaries and pull-request comments."""

from __future__ import annotations

from convsurgeon.base.outside_text import in_html, in_markdown
from convsurgeon.budgets import cells
from convsurgeon.budgets.record import CheckReport
from convsurgeon.report import markdown

__all__ = ["failure", "to_markdown"]

_SIGNS = {
    "OVER": "❌ OVER",
    "FAILED": "❌ FAILED",
    "NOT JUDGED": "❌ NOT JUDGED",
    "warning": "⚠️ warning",
    "ok": "✅ ok",
}


def to_markdown(report: CheckReport, *, why: bool = False) -> str:
    """The verdict, the table, what needs saying, and the layers responsible where ``why`` asks for them."""
    sign = "✅" if report.exit_code == 0 else "❌"
    table = markdown.table(
        [in_markdown(title) for title in cells.header(report)],
        [[*map(in_markdown, texts[:-1]), _SIGNS.get(texts[-1], texts[-1])] for _, texts in cells.rows(report)],
    )
    parts = [f"### {sign} convsurgeon: {cells.summary(report)}\n", table]
    lines = [f"- **{verdict}**: {in_markdown(text)}" for verdict, text in cells.sentences(report)]
    if lines:
        parts.append("\n".join(lines) + "\n")
    if why:
        parts += _why(report)
    return "\n".join(parts)


def failure(message: str) -> str:
    """A check that could not begin, e.g. because of its configuration."""
    lines = "\n".join(f"- {in_markdown(line)}" for line in message.splitlines())
    return f"### ❌ convsurgeon: the check could not begin\n\n{lines}\n"


def _why(report: CheckReport) -> list[str]:
    parts = []
    for row in report.rows:
        responsible = cells.why(row) if row.why else []
        if responsible:
            against = f"against {row.why_against}" if row.why_against else "largest layers"
            lines = "\n".join(f"- {in_markdown(text)}" for text in responsible)
            head = f"<details><summary>{in_html(row.name)}: {in_html(against)}</summary>"
            parts.append(f"{head}\n\n{lines}\n\n</details>\n")
    return parts
