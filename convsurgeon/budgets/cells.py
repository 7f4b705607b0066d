"""What every drawn form of a report shows: the cells of its table, and the sentences below it."""

from __future__ import annotations

from convsurgeon.budgets.metrics import METRICS, short
from convsurgeon.budgets.record import CheckReport, Figure, Row
from convsurgeon.budgets.why import lines as why_lines

__all__ = ["VERDICTS", "header", "rows", "sentences", "summary", "why"]

VERDICTS = {
    "ok": "ok",
    "no limit": "no limit",
    "warn": "warning",
    "over": "OVER",
    "failed": "FAILED",
    "off": "off",
    "not judged": "NOT JUDGED",
}
NOTHING = "–"


def header(report: CheckReport) -> tuple[str, ...]:
    """Column titles; the baseline's are there when there is one."""
    compared = () if report.baseline is None else (report.baseline, "change")
    return ("entry", "of one forward", "now", *compared, "limit", "used", "result")


def rows(report: CheckReport) -> list[tuple[Row, tuple[str, ...]]]:
    """One line per number, the entry's name on its first one."""
    drawn = []
    for row in report.rows:
        if not row.figures:
            blank = (NOTHING,) * (len(header(report)) - 2)
            drawn.append((row, (row.name, *blank, VERDICTS[row.status])))
        for number, figure in enumerate(row.figures):
            drawn.append((row, (row.name if number == 0 else "", *_cells(report, figure))))
    return drawn


def _cells(report: CheckReport, figure: Figure) -> list[str]:
    cells = [METRICS[figure.metric].title, short(figure.metric, figure.value) + (" + data" if figure.varying else "")]
    if report.baseline is not None:
        cells += [NOTHING, NOTHING] if figure.baseline is None else _compared(figure, figure.baseline)
    if figure.limit is None:
        return [*cells, figure.limit_text or NOTHING, NOTHING, VERDICTS[figure.status]]
    used = f"{figure.value / figure.limit:.1%}".replace("%", " %") if figure.limit else NOTHING
    limit = short(figure.metric, figure.limit)
    text = figure.limit_text or ""
    return [*cells, f"{text} = {limit}" if "%" in text else limit, used, VERDICTS[figure.status]]


def _compared(figure: Figure, baseline: int) -> list[str]:
    difference = figure.value - baseline
    if difference == 0:
        return [short(figure.metric, baseline), "0"]
    percent = f" ({difference / baseline:+.2%})".replace("%", " %") if baseline else ""
    sign = "+" if difference > 0 else "−"
    return [short(figure.metric, baseline), f"{sign}{short(figure.metric, abs(difference))}{percent}"]


def sentences(report: CheckReport) -> list[tuple[str, str]]:
    """Everything that needs saying below the table, as (verdict, sentence): failures first, then what is over."""
    lines = []
    for row in report.rows:
        if row.problem is not None:
            lines.append(("FAILED", row.problem))
    for row in report.rows:
        lines += [(VERDICTS[figure.status], text) for figure, text in row.verdicts(report.config)]
    for row in report.rows:
        lines += [("note", f"entry '{row.name}': {text}") for text in row.notes]
    return lines + [("note", text) for text in report.notes]


def why(row: Row) -> list[str]:
    """The layers responsible for a row's numbers."""
    totals = {figure.metric: int(figure.value) for figure in row.figures if figure.metric in ("macs", "params")}
    if not totals:
        return []
    found = why_lines(row.why, {str(key): value for key, value in totals.items()}, row.why_against is not None)
    return found or [f"no layer changed against {row.why_against}"]


def summary(report: CheckReport) -> str:
    """The whole check in one sentence."""
    counts = {status: sum(row.status == status for row in report.rows) for status in VERDICTS}
    words = [f"{n} {VERDICTS[s].lower()}" for s, n in counts.items() if n]
    verdict = {0: "within budget", 1: "over budget", 2: "could not be judged", 3: "some models failed"}
    entries = f"{len(report.rows)} {'entry' if len(report.rows) == 1 else 'entries'}"
    return f"{verdict[report.exit_code]}: {entries}, {', '.join(words)}"
