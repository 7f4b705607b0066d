"""The report of ``bench`` as rich tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line
from convsurgeon.deployment.benching.cells import cells, header, layer_cells, layer_header, lines, rate, realised
from convsurgeon.deployment.benching.record import BenchReport, BenchRow
from convsurgeon.report.terminal import Fitting

__all__ = ["render"]


def render(report: BenchReport) -> RenderableType:
    """One row per runtime, precision and batch size, the layers if they were timed, and what to know about them."""
    parts: list[RenderableType] = [Fitting(_wide(report), _narrow(report))]
    if report.layers:
        parts.append(_layers(report))
    return Group(*parts, *(Text(on_one_line(line)) for line in lines(report)))


def _wide(report: BenchReport) -> Table:
    table = Table(title=report.model, title_justify="left", header_style="bold")
    for number, title in enumerate(header(report)):
        table.add_column(title, justify="left" if number < 2 else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(*cells(row), style=_style(row))
    return table


def _narrow(report: BenchReport) -> Table:
    """Before and after on two lines of one cell."""
    table = Table(title=report.model, title_justify="left", header_style="bold", show_lines=True)
    table.add_column("runtime\nbatch", overflow="fold")
    for title in ("ms", "images/s", "ratio\nrealised"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        figures = [figure for figure in (row.original, row.converted) if figure is not None]
        table.add_row(
            f"{row.place.runtime} {row.place.precision}\nbatch {row.batch}",
            "\n".join(f"{figure.latency.median_ms:.2f}" for figure in figures),
            "\n".join(rate(figure) for figure in figures),
            "" if row.ratio is None else f"{row.ratio:.3f}\n{realised(row)}",
            style=_style(row),
        )
    return table


def _style(row: BenchRow) -> str:
    """A converted network that is slower than its original stands out."""
    return "yellow" if row.ratio is not None and row.ratio > 1 else ""


def _layers(report: BenchReport) -> Table:
    table = Table(title="layers, eager, over all calls", title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("was", overflow="fold")
    for title in layer_header(report)[2:]:
        text = title == "became"
        table.add_column(
            title, justify="left" if text else "right", no_wrap=not text, overflow="fold" if text else "ellipsis"
        )
    for row in report.layers:
        table.add_row(
            *layer_cells(row, report.converted is not None),
            style="yellow" if (row.ratio or 0) > 1 and row.became else "",
        )
    return table
