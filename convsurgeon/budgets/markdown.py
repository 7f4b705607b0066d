"""The report as Markdown, for job summaries and pull-request comments."""

from __future__ import annotations

import re

from convsurgeon.budgets import cells
from convsurgeon.budgets.record import CheckReport
from convsurgeon.report import markdown

__all__ = ["to_markdown"]

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
        [_plain(title) for title in cells.header(report)],
        [[*map(_plain, texts[:-1]), _SIGNS.get(texts[-1], texts[-1])] for _, texts in cells.rows(report)],
    )
    parts = [f"### {sign} convsurgeon: {cells.summary(report)}\n", table]
    lines = [f"- **{verdict}**: {_plain(text)}" for verdict, text in cells.sentences(report)]
    if lines:
        parts.append("\n".join(lines) + "\n")
    if why:
        parts += _why(report)
    return "\n".join(parts)


def _why(report: CheckReport) -> list[str]:
    parts = []
    for row in report.rows:
        responsible = cells.why(row) if row.why else []
        if responsible:
            against = f"against {row.why_against}" if row.why_against else "largest layers"
            lines = "\n".join(f"- {_plain(text)}" for text in responsible)
            head = f"<details><summary>{_plain(row.name)}: {_plain(against)}</summary>"
            parts.append(f"{head}\n\n{lines}\n\n</details>\n")
    return parts


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave alone, so that a name or a message stays what it is."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return re.sub(r"([\\`*_\[\]~#@])", r"\\\1", escaped)
