"""The page of a comparison: the knee first, a chart for each cost, every network, and the commands that make them."""

from __future__ import annotations

import math
from collections.abc import Callable

from convsurgeon.planning.targets import Metric, human
from convsurgeon.report import plot
from convsurgeon.report.comparison import Comparison
from convsurgeon.report.comparison_terminal import (
    cells,
    header,
    marks,
    quality_words,
    sentences,
    time_words,
    verdict,
)
from convsurgeon.report.lines import share
from convsurgeon.report.page import draw
from convsurgeon.report.page.blocks import Chart, Code, Figure, Page, Section, Sentences, Table

__all__ = ["summary_html", "to_html"]

_TITLES: dict[Metric, str] = {"macs": "MACs", "params": "Parameters", "latency": "Latency"}


def to_html(comparison: Comparison) -> str:
    """One self-contained file."""
    return draw.to_html(_page(comparison))


def summary_html(comparison: Comparison) -> str:
    """The charts and the table, for a notebook's cell."""
    return draw.fragment(_page(comparison))


def _page(comparison: Comparison) -> Page:
    models = dict.fromkeys(point.model for point in comparison.points)
    charts = [Section(_TITLES[metric], (_chart(comparison, metric),)) for metric in comparison.fronts]
    commands = [
        Section(f"How to make {point.name}", (Code(point.command),)) for point in comparison.points if point.command
    ]
    return Page(
        title=f"{', '.join(models)}: {len(comparison.points)} networks",
        verdict=verdict(comparison),
        figures=_figures(comparison),
        sections=(
            *charts,
            Section("Every network", (_table(comparison), Sentences(tuple(sentences(comparison))))),
            *commands,
        ),
        made_by=f"convsurgeon {comparison.convsurgeon}" + (f": {comparison.command}" if comparison.command else ""),
    )


def _figures(comparison: Comparison) -> tuple[Figure, ...]:
    """The knee's headline numbers; none where there is no knee."""
    if comparison.knee is None or comparison.quality is None:
        return ()
    _, knee = comparison.knee
    figures = [
        Figure("MACs kept", share(knee.after.macs, knee.before.macs), human(knee.after.macs)),
        Figure("Parameters kept", share(knee.after.params, knee.before.params), human(knee.after.params)),
        Figure(comparison.quality, quality_words(knee, comparison.quality).split(" (")[0], knee.name),
    ]
    if knee.timing is not None:
        figures.append(Figure("Time taken", f"{100 * knee.timing.ratio:.1f} %", time_words(knee)))
    return tuple(figures)


def _chart(comparison: Comparison, metric: Metric) -> Chart:
    quality = comparison.quality
    assert quality is not None
    points = [
        plot.Point(
            label=point.name,
            x=point.cost(metric) or 0.0,
            y=abs(point.quality(quality) or 0.0),
            interval=point.interval(quality),
            group=point.name if point.original else point.method,
            front=point.name in comparison.fronts[metric],
        )
        for point in comparison.points
        if point.cost(metric) is not None and point.quality(quality) is not None
    ]
    x = plot.Axis(_TITLES[metric], _shown(metric))
    y = plot.Axis(quality, "{:.1%}".format, most=math.inf if quality == "output error" else 1.0)
    svg = plot.scatter(points, x, y, title=f"{quality} against {metric}")
    knee = comparison.knees.get(metric)
    caption = "Rings: nobody beats these. Lines: 95 % intervals." + (f" Knee: {knee}." if knee else "")
    return Chart(svg, caption)


def _shown(metric: Metric) -> Callable[[float], str]:
    return "{:.0%}".format if metric == "latency" else lambda value: human(round(value))


def _table(comparison: Comparison) -> Table:
    titles = header(comparison)
    rows = tuple(cells(comparison, point) for point in comparison.points)
    styles = tuple("replaced" if marks(comparison, point) else "" for point in comparison.points)
    return Table("Costs with the share of the original's.", titles, rows, frozenset(range(1, len(titles) - 1)), styles)
