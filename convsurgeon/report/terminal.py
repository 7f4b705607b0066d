"""The report as rich tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line
from convsurgeon.planning.plan import PlanLayer
from convsurgeon.planning.targets import human
from convsurgeon.report.groups import grouped, macs_words
from convsurgeon.report.lines import (
    BLOCK_TITLES,
    STREAM_TITLES,
    became,
    block_lines,
    called,
    error_left,
    layer_latency,
    result_line,
    share,
    stream_lines,
    summary_lines,
    target_lines,
)
from convsurgeon.report.record import Report

__all__ = ["Fitting", "render", "render_layers"]

# Columns below which a table would have its words in pieces.
_ROOM = 70
_STYLES = {
    **dict.fromkeys(("replaced", "narrowed", "dropped"), "green"),
    **dict.fromkeys(("refused", "closed"), "yellow"),
    "kept": "",
}


@dataclass(frozen=True)
class Fitting:
    """The wide table where it fits on the console, else the narrow form: rich would squeeze columns to nothing."""

    wide: Table
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for column in self.wide.columns:
            if column.no_wrap:
                column.min_width = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        needed = Measurement.get(console, options.update(width=10_000), self.wide).minimum
        yield self.wide if needed <= options.max_width else self.narrow


@dataclass(frozen=True)
class _Roomy:
    """A table where there is room for its columns, else the same as lines."""

    table: RenderableType
    lines: Callable[[], RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table if options.max_width >= _ROOM else self.lines()


def render(report: Report) -> RenderableType:
    """What happened in a sentence, the totals, the layers in groups, and the sentences below them."""
    sentences = map(on_one_line, target_lines(report))
    lines = [Text(line, style="yellow" if line.startswith("note:") else "") for line in sentences]
    groups = _Roomy(_groups(report), partial(_group_lines, report))
    return Group(Text(on_one_line(result_line(report)), style="bold"), _totals(report), groups, *lines)


def _rows(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], actions: Iterable[str]) -> list[Table]:
    """A table with a row for each action; none where there is no row."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in titles:
        table.add_column(heading, overflow="fold")
    for cells, action in zip(rows, actions, strict=True):
        table.add_row(*map(on_one_line, cells), style=_STYLES[action])
    return [table] if rows else []


def render_layers(report: Report) -> RenderableType:
    """One row per convolution, per stream of channels, and per residual branch."""
    plan = report.plan
    return Group(
        _Roomy(Fitting(_layers(report), _narrow_layers(report)), partial(_layer_lines, report)),
        *_rows("streams of channels", STREAM_TITLES, stream_lines(report), (row.action for row in plan.streams)),
        *_rows("residual branches", BLOCK_TITLES, block_lines(report), (row.action for row in plan.blocks)),
    )


def _groups(report: Report) -> Table:
    table = Table(header_style="bold")
    table.add_column("layers", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("by what, or why not", overflow="fold")
    table.add_column("MACs", justify="right", no_wrap=True)
    for group in grouped(report.plan.layers):
        row = (str(len(group.layers)), group.action, group.what, macs_words(group))
        table.add_row(*row, style=_STYLES.get(group.action, ""))
    return table


def _group_lines(report: Report) -> RenderableType:
    return Group(
        *(
            Text(f"{len(group.layers)} {group.action}: {on_one_line(group.what)}, {macs_words(group)} MACs")
            for group in grouped(report.plan.layers)
        )
    )


def _layer_lines(report: Report) -> RenderableType:
    """A few lines for each convolution."""
    lines = []
    for layer in report.plan.layers:
        costs = [
            f"{title} {human(before)} → {human(after)}" if before != after else f"{title} {human(before)}"
            for title, before, after in (
                ("MACs", layer.before.macs, layer.after.macs),
                ("params", layer.before.params, layer.after.params),
            )
        ]
        more = [f"error left {left}"] if (left := error_left(report, layer)) else []
        more += [layer_latency(layer.latency)] if layer.latency else []
        lines.append(Text(on_one_line(called(layer)), style="bold"))
        lines.append(Text(on_one_line(f"{layer.was}: {became(layer)}"), style=_STYLES.get(layer.action, "")))
        lines.append(Text(", ".join([*costs, *more])))
    return Group(*lines)


def _layers(report: Report) -> Table:
    table = Table(title=_title(report), title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("was", no_wrap=True)
    table.add_column("became / why not", overflow="fold", min_width=24)
    for title in ("MACs before", "MACs after", "params before", "params after", "MACs kept"):
        table.add_column(title, justify="right", no_wrap=True)
    if report.errors:
        table.add_column("error left", justify="right", no_wrap=True)
    timed = any(layer.latency is not None for layer in report.plan.layers)
    if timed:
        table.add_column("latency", justify="right", no_wrap=True)
    for layer in report.plan.layers:
        table.add_row(*_cells(report, layer, timed), style=_STYLES.get(layer.action, ""))
    return table


def _narrow_layers(report: Report) -> Table:
    """Before and after on two lines of one cell, numbers rounded to three decimals."""
    table = Table(title=_title(report), title_justify="left", header_style="bold", show_lines=True)
    table.add_column("layer", overflow="fold")
    table.add_column("was\nbecame / why not", overflow="fold")
    for title in ("MACs", "params"):
        table.add_column(f"{title}\nafter", justify="right", no_wrap=True)
    table.add_column("MACs\nkept", justify="right", no_wrap=True)
    for layer in report.plan.layers:
        latency = "" if layer.latency is None else f"\n{layer_latency(layer.latency)}"
        error = f"\nerror left {left}" if (left := error_left(report, layer)) else ""
        table.add_row(
            called(layer),
            f"{layer.was}\n{became(layer)}{error}{latency}",
            f"{human(layer.before.macs)}\n{human(layer.after.macs)}",
            f"{human(layer.before.params)}\n{human(layer.after.params)}",
            share(layer.after.macs, layer.before.macs),
            style=_STYLES.get(layer.action, ""),
        )
    return table


def _title(report: Report) -> str:
    return f"{report.plan.model} → {report.plan.method}"


def _cells(report: Report, layer: PlanLayer, timed: bool) -> list[str]:
    cells = [
        called(layer),
        layer.was,
        became(layer),
        f"{layer.before.macs:,}",
        f"{layer.after.macs:,}",
        f"{layer.before.params:,}",
        f"{layer.after.params:,}",
        share(layer.after.macs, layer.before.macs),
    ]
    if report.errors:
        cells.append(error_left(report, layer))
    if timed:
        cells.append(layer_latency(layer.latency))
    return cells


def _totals(report: Report) -> Table:
    table = Table(header_style="bold")
    table.add_column("whole model")
    for title in ("before", "after", "kept"):
        table.add_column(title, justify="right")
    for row in summary_lines(report.before, report.after):
        table.add_row(*row)
    return table
