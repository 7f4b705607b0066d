"""The report of ``bench`` as a page."""

from __future__ import annotations

from convsurgeon.deployment.benching.cells import cells, header, layer_cells, layer_header, lines, macs
from convsurgeon.deployment.benching.record import BenchReport, BenchRow
from convsurgeon.report.page import draw
from convsurgeon.report.page.blocks import Block, Cell, Figure, Page, PairOfBars, Section, Sentences, Table

__all__ = ["to_html"]


def to_html(report: BenchReport, command: str) -> str:
    """One self-contained file; ``command`` is the one that measured."""
    rows: list[Block] = [_rows(report)] if report.rows else []
    layers = [Section("Layers inside the running networks", (_layers(report),))] if report.layers else []
    page = Page(
        title=f"{report.model}: milliseconds",
        verdict=_verdict(report),
        figures=tuple(_figure(row) for row in report.rows),
        sections=(
            Section("Runtimes", (*rows, Sentences(tuple(lines(report))))),
            *layers,
        ),
        made_by=f"convsurgeon {report.convsurgeon}: {command}",
    )
    return draw.to_html(page)


def _verdict(report: BenchReport) -> str:
    if report.converted is None:
        return f"{macs(report)} MACs of one forward."
    ratios = [row.ratio for row in report.rows if row.ratio is not None]
    faster = sum(ratio < 1 for ratio in ratios)
    return f"MACs of one forward: {macs(report)}; faster in {faster} of {len(ratios)} measurements."


def _figure(row: BenchRow) -> Figure:
    title = f"{row.place.runtime}, {row.place.precision}, batch {row.batch}"
    before = f"{row.original.latency.median_ms:.2f} ms"
    if row.converted is None or row.ratio is None:
        return Figure(title, before)
    value = f"{100 * row.ratio:.1f} % of the time"
    return Figure(title, value, f"{before} → {row.converted.latency.median_ms:.2f} ms")


def _rows(report: BenchReport) -> Table:
    twins = report.converted is not None
    most = max(max(row.original.latency.median_ns, _after(row)) for row in report.rows)
    table: list[tuple[Cell, ...]] = []
    for row in report.rows:
        texts: list[Cell] = list(cells(row))
        if twins:
            texts[3:5] = [PairOfBars(row.original.latency.median_ns, _after(row), most, f"{texts[3]}\n{texts[4]}")]
        table.append(tuple(texts))
    titles = list(header(report))
    if twins:
        titles[3:5] = ["ms before and after (quartiles)"]
    marks = tuple("slower" if (row.ratio or 0) > 1 else "" for row in report.rows)
    caption = "Medians of one forward; bars: original (upper) and converted (lower)."
    numbers = frozenset(range(2, len(titles))) - ({3} if twins else set())
    return Table(caption, tuple(titles), tuple(table), numbers, marks)


def _after(row: BenchRow) -> int:
    return 0 if row.converted is None else row.converted.latency.median_ns


def _layers(report: BenchReport) -> Table:
    titles = layer_header(report)
    rows = tuple(tuple(layer_cells(row, report.converted is not None)) for row in report.layers)
    marks = tuple("slower" if (row.ratio or 0) > 1 and row.became else "" for row in report.layers)
    numbers = frozenset(range(titles.index("batch"), len(titles)))
    return Table("Eager, over all calls of one forward.", titles, rows, numbers, marks)
