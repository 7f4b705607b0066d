"""A comparison as a rich table, and in sentences below it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.base.outside_text import on_one_line
from convsurgeon.planning.targets import human, human_ms
from convsurgeon.report.comparison import Comparison
from convsurgeon.report.lines import share
from convsurgeon.report.point import Point, Quality
from convsurgeon.report.terminal import Fitting

__all__ = ["cells", "header", "marks", "quality_words", "render", "sentences", "time_words", "verdict"]

_TITLES: dict[Quality, str] = {
    "accuracy": "top-1 accuracy",
    "agreement": "agreement with the original",
    "output error": "output error",
}


def render(comparison: Comparison) -> RenderableType:
    """One row for each network, the front and the knee marked, and the sentences below it."""
    table = Table(header_style="bold")
    for number, title in enumerate(header(comparison)):
        table.add_column(
            title, justify="right" if 0 < number < len(header(comparison)) - 1 else "left", overflow="fold"
        )
    for point in comparison.points:
        table.add_row(*cells(comparison, point), style="green" if marks(comparison, point) else "")
    lines = [Text(on_one_line(line)) for line in sentences(comparison)]
    return Group(Fitting(table, _narrow(comparison)), Text(on_one_line(verdict(comparison)), style="bold"), *lines)


def _narrow(comparison: Comparison) -> RenderableType:
    """A sentence for each network."""
    titles = header(comparison)
    found = []
    for point in comparison.points:
        name, *figures, mark = cells(comparison, point)
        words = [f"{title} {figure}" for title, figure in zip(titles[1:], figures, strict=False) if figure]
        line = on_one_line(f"{name}: {', '.join([*words, mark] if mark else words)}")
        found.append(Text(line, style="green" if mark else ""))
    return Group(*found)


def verdict(comparison: Comparison) -> str:
    """The answer in a sentence."""
    if comparison.knee is None:
        return f"{len(comparison.points)} networks, no knee: none stands out above the line through the ends"
    _, knee = comparison.knee
    by = ", ".join(metric for metric, name in comparison.knees.items() if name == knee.name)
    words = "" if comparison.quality is None else f", {quality_words(knee, comparison.quality)}"
    return f"knee ({by}): {knee.name} keeps {share(knee.after.macs, knee.before.macs)} of the MACs{words}"


def sentences(comparison: Comparison) -> list[str]:
    """The fronts, what can't be had, and notes."""
    lines = [f"front by {metric}: {', '.join(names)}" for metric, names in comparison.fronts.items()]
    if not comparison.fronts:
        lines.append("no front, since the networks were not all judged the same way")
    if comparison.quality not in (None, "output error"):
        lines.append("intervals are 95 %; networks whose intervals overlap may be equally good")
    lines += [f"{refused.name} can't be had: {refused.reason}" for refused in comparison.refused]
    return lines + [f"note: {note}" for note in comparison.notes]


def header(comparison: Comparison) -> tuple[str, ...]:
    """The titles of the columns."""
    quality = "" if comparison.quality is None else _TITLES[comparison.quality]
    timed = ("latency",) if any(point.timing for point in comparison.points) else ()
    return ("network", "MACs", "params", *timed, quality or "not judged", "")


def cells(comparison: Comparison, point: Point) -> tuple[str, ...]:
    """One row."""
    timed = (time_words(point),) if any(point.timing for point in comparison.points) else ()
    quality = "" if comparison.quality is None else quality_words(point, comparison.quality)
    return (
        point.name,
        f"{human(point.after.macs)} ({share(point.after.macs, point.before.macs)})",
        f"{human(point.after.params)} ({share(point.after.params, point.before.params)})",
        *timed,
        quality,
        ", ".join(marks(comparison, point)),
    )


def marks(comparison: Comparison, point: Point) -> list[str]:
    """By which metrics it is on the front, and by which it is the knee."""
    fronts = [metric for metric, names in comparison.fronts.items() if point.name in names]
    knees = [metric for metric, name in comparison.knees.items() if name == point.name]
    found = []
    if fronts:
        found.append("front" if len(fronts) == len(comparison.fronts) else f"front ({', '.join(fronts)})")
    return found + ([f"knee ({', '.join(knees)})"] if knees else [])


def quality_words(point: Point, quality: Quality) -> str:
    """E.g. ``98.33 % (96.4 to 99.2)``."""
    value, between = point.quality(quality), point.interval(quality)
    if value is None:
        return "–"
    words = f"{100 * abs(value):.2f} %"
    return words if between is None else f"{words} ({100 * between[0]:.1f} to {100 * between[1]:.1f})"


def time_words(point: Point) -> str:
    """E.g. ``1.204 ms (61.2 %)``."""
    if point.timing is None:
        return "–"
    return f"{human_ms(point.timing.converted.median_ns)} ({100 * point.timing.ratio:.1f} %)"
