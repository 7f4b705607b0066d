"""The report as rich tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.report.lines import result_line, share, summary_lines, target_lines
from convsurgeon.report.record import Report, ReportLayer

__all__ = ["render"]

_STYLES = {"replaced": "green", "kept": "", "refused": "yellow"}


def render(report: Report) -> RenderableType:
    """One row per convolution, the totals, and the sentences below them."""
    lines = [Text(line, style="yellow" if line.startswith("note:") else "") for line in target_lines(report)]
    return Group(_layers(report), _totals(report), Text(result_line(report), style="bold"), *lines)


def _layers(report: Report) -> Table:
    table = Table(title=f"{report.model} → {report.method}", title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("was", no_wrap=True)
    table.add_column("became / why not", overflow="fold")
    for title in ("MACs before", "MACs after", "params before", "params after", "MACs kept"):
        table.add_column(title, justify="right", no_wrap=True)
    with_errors = any(layer.error is not None for layer in report.layers)
    if with_errors:
        table.add_column("error left", justify="right", no_wrap=True)
    for layer in report.layers:
        table.add_row(*_cells(layer, with_errors), style=_STYLES[layer.action])
    return table


def _cells(layer: ReportLayer, with_errors: bool) -> list[str]:
    calls = f" ×{layer.calls}" if layer.calls > 1 else ""
    became = layer.reason if layer.action == "replaced" else f"{layer.action}: {layer.reason}"
    cells = [
        layer.name + calls,
        layer.was,
        became,
        f"{layer.before.macs:,}",
        f"{layer.after.macs:,}",
        f"{layer.before.params:,}",
        f"{layer.after.params:,}",
        share(layer.after.macs, layer.before.macs),
    ]
    if with_errors:
        cells.append("" if layer.error is None else f"{layer.error:.2%}")
    return cells


def _totals(report: Report) -> Table:
    table = Table(title="whole model", title_justify="left", header_style="bold")
    table.add_column("")
    for title in ("before", "after", "kept"):
        table.add_column(title, justify="right")
    for row in summary_lines(report.before, report.after):
        table.add_row(*row)
    return table
