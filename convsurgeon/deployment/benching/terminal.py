"""The report of ``bench`` as rich tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line
from convsurgeon.deployment.benching.record import BenchFigure, BenchLayer, BenchReport, BenchRow
from convsurgeon.planning.targets import human, human_ms
from convsurgeon.report.lines import share
from convsurgeon.report.terminal import Fitting
from convsurgeon.runtimes.timer import Spread

__all__ = ["render"]

_MIB = 2**20


def render(report: BenchReport) -> RenderableType:
    """One row per runtime, precision and batch size, the layers if they were timed, and what to know about them."""
    parts: list[RenderableType] = [Fitting(_wide(report), _narrow(report))]
    if report.layers:
        parts.append(_layers(report))
    return Group(*parts, *(Text(on_one_line(line)) for line in _lines(report)))


def _wide(report: BenchReport) -> Table:
    table = Table(title=report.model, title_justify="left", header_style="bold")
    for title in ("runtime", "precision"):
        table.add_column(title, no_wrap=True)
    twins = report.converted is not None
    titles = ["batch", "original ms (quartiles)", "converted ms (quartiles)", "images/s", "peak MiB", "ratio"]
    titles += ["realised share"]
    for title in titles if twins else ["batch", "ms (quartiles)", "images/s", "peak MiB"]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells(row), style=_style(row))
    return table


def _cells(row: BenchRow) -> list[str]:
    start = [row.place.runtime, row.place.precision, str(row.batch), _spread(row.original.latency)]
    if row.converted is None:
        return [*start, _rate(row.original), _memory(row.original)]
    return [
        *start,
        _spread(row.converted.latency),
        f"{_rate(row.original)} → {_rate(row.converted)}",
        f"{_memory(row.original)} → {_memory(row.converted)}",
        f"{row.ratio:.3f}",
        _realised(row),
    ]


def _realised(row: BenchRow) -> str:
    return "–" if row.realised is None else f"{row.realised:.0%}".replace("%", " %")


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
            "\n".join(_rate(figure) for figure in figures),
            "" if row.ratio is None else f"{row.ratio:.3f}\n{_realised(row)}",
            style=_style(row),
        )
    return table


def _style(row: BenchRow) -> str:
    """A converted network that is slower than its original stands out."""
    return "yellow" if row.ratio is not None and row.ratio > 1 else ""


def _spread(latency: Spread) -> str:
    return f"{latency.median_ms:.2f} ({latency.low_ns / 1e6:.2f}–{latency.high_ns / 1e6:.2f})"


def _rate(figure: BenchFigure) -> str:
    return f"{figure.throughput:.1f}"


def _memory(figure: BenchFigure) -> str:
    return "?" if figure.memory is None else f"{figure.memory / _MIB:.1f}"


def _layers(report: BenchReport) -> Table:
    table = Table(title="layers, eager, over all calls", title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("was", overflow="fold")
    twins = report.converted is not None
    if twins:
        table.add_column("became", overflow="fold")
    for title in ("batch", "before", "after", "ratio") if twins else ("batch", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.layers:
        table.add_row(*_layer(row, twins), style="yellow" if (row.ratio or 0) > 1 and row.became else "")
    return table


def _layer(row: BenchLayer, twins: bool) -> list[str]:
    if not twins:
        return [row.name, row.was, str(row.batch), human_ms(row.original.median_ns)]
    after = "–" if row.converted is None else human_ms(row.converted.median_ns)
    ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
    return [row.name, row.was, row.became or "", str(row.batch), human_ms(row.original.median_ns), after, ratio]


def _lines(report: BenchReport) -> list[str]:
    lines = [f"MACs of one forward on {_shapes(report)}: {_macs(report)}"]
    places = dict.fromkeys((row.place.device, row.place.threads, row.place.torch) for row in report.rows)
    for device, threads, torch in places:
        lines.append(f"{device}, {threads} thread{'' if threads == 1 else 's'}, torch {torch}")
    if report.rows:
        rounds = sorted({row.original.latency.samples for row in report.rows})
        span = f"{rounds[0]}–{rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
        lines.append(f"medians and quartiles of {span} samples, the networks in turn after a warm-up")
        folded = "; ".join(dict.fromkeys(f"{row.place.runtime}: {row.batch_norm}" for row in report.rows))
        lines.append(f"batch norm, in both networks: {folded}")
        lines.append("peak: the memory that a forward takes on top of the loaded network")
    if report.converted is not None:
        lines.append("realised share = (1 − latency ratio) / (1 − MACs ratio)")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"not here: {name}: {reason}" for name, reason in report.absent.items()]
    return lines + [f"failed: {name}: {reason}" for name, reason in report.failed.items()]


def _shapes(report: BenchReport) -> str:
    return ", ".join(str(list(shape)) for shape in report.input_shapes)


def _macs(report: BenchReport) -> str:
    if report.converted is None or report.macs_ratio is None:
        return human(report.original.macs)
    kept = share(report.converted.macs, report.original.macs)
    return f"{human(report.original.macs)} → {human(report.converted.macs)} ({kept} kept)"
