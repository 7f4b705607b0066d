"""Plots as inline SVG: results as points on two axes, joined by lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from convsurgeon.base.outside_text import in_html
from convsurgeon.report.chart import COLOURS, figure, percent, text

__all__ = ["Axis", "Point", "curves", "scatter"]

# Outlines around (0, 0), one a group.
_SHAPES = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "M-4.5-4.5h9v9h-9z", "M0-6L6 0L0 6L-6 0z", "M0-6L5.5 4h-11z")
# Larger numbers have no place on an axis that others share.
_FARTHEST = 1e100
# Of a plot: shares of the width, and pixels from the top.
_LEFT, _RIGHT, _TOP, _BOTTOM = 13.0, 97.0, 30.0, 240.0
# The narrowest screen that labels are kept apart for, in pixels, and a sign's width and height there.
_NARROWEST, _SIGN_WIDTH, _SIGN_HEIGHT = 328.0, 6.6, 13.0


@dataclass(frozen=True)
class Axis:
    """What an axis counts, how one of its numbers is written, e.g. ``"{:.0%}".format``, and the most there can be."""

    title: str
    show: Callable[[float], str]
    most: float = math.inf


@dataclass(frozen=True)
class Point:
    """One result: where it lies, the interval of its ``y`` (low, high), and whether it is on the front."""

    label: str
    x: float
    y: float
    interval: tuple[float, float] | None = None
    group: str = ""
    front: bool = False


def scatter(points: Sequence[Point], x: Axis, y: Axis, *, title: str) -> str:
    """Points with their labels; those on the front have a ring, and a dashed line joins them."""
    front = sorted((point for point in points if point.front), key=lambda point: (point.x, point.y))
    return _plot(points, x, y, title, [(front, "front")], labelled=True)


def curves(points: Sequence[Point], x: Axis, y: Axis, *, title: str) -> str:
    """A line for each group, through its points in their order."""
    groups = _groups(points)
    lines = [([p for p in points if p.group == name], f"g{number % COLOURS}") for name, number in groups.items()]
    return _plot(points, x, y, title, lines, labelled=False)


def _plot(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    title: str,
    lines: Sequence[tuple[Sequence[Point], str]],
    *,
    labelled: bool,
) -> str:
    points = [point for point in points if _drawable(point)]
    groups = _groups(points)
    across = _Scale.over([point.x for point in points], _LEFT + 3, _RIGHT)
    ends = [end for point in points for end in point.interval or ()]
    down = _Scale.over([*(point.y for point in points), *ends], _BOTTOM, _TOP)
    named = [name for name in groups if name]
    body = [
        *_axes(across, down, x, y),
        *(part for line, style in lines for part in _joined(filter(_drawable, line), style, across, down)),
        *(_mark(point, groups[point.group], across, down, x, y) for point in points),
        *(_labels(points, across, down) if labelled else ()),
        *(_legend(named, groups) if len(named) > 1 else ()),
    ]
    height = _BOTTOM + 40 + (18 * len(named) if len(named) > 1 else 0)
    return figure(title, height, body)


@dataclass(frozen=True)
class _Scale:
    """From numbers to places: ``low`` lies at ``start``, ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        """All values with a little room; a single value lies in the middle."""
        low, high = min(values, default=0.0), max(values, default=0.0)
        room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Where a value lies; what is beyond the ends lies on them."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Three to six round numbers."""
        rough = (self.high - self.low) / 4
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= rough)
        for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            yield number * step


def _drawable(point: Point) -> bool:
    """What is no number, or beyond all measure, has no place."""
    return all(abs(value) < _FARTHEST for value in (point.x, point.y, *(point.interval or ())))


def _axes(across: _Scale, down: _Scale, x: Axis, y: Axis) -> Iterator[str]:
    yield text(0, 12, y.title, "font-weight:600")
    for value in filter(lambda tick: tick <= y.most, down.ticks()):
        height, words = down.at(value), in_html(y.show(value))
        yield f'<line x1="{_LEFT}%" x2="100%" y1="{height:.1f}" y2="{height:.1f}"/>'
        yield f'<text class="soft" x="{_LEFT - 1}%" y="{height + 4:.1f}" text-anchor="end">{words}</text>'
    for value in across.ticks():
        place = percent(across.at(value))
        yield f'<line x1="{place}" x2="{place}" y1="{_BOTTOM}" y2="{_BOTTOM + 5}"/>'
        yield f'<text class="soft" x="{place}" y="{_BOTTOM + 18}" text-anchor="middle">{in_html(x.show(value))}</text>'
    yield f'<text x="100%" y="{_BOTTOM + 34}" text-anchor="end" style="font-weight:600">{in_html(x.title)}</text>'


def _joined(points: Iterable[Point], style: str, across: _Scale, down: _Scale) -> Iterator[str]:
    places = [(percent(across.at(point.x)), f"{down.at(point.y):.1f}") for point in points]
    for (x1, y1), (x2, y2) in pairwise(places):
        yield f'<line class="{style}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _mark(point: Point, group: int, across: _Scale, down: _Scale, x: Axis, y: Axis) -> str:
    """A shape with its numbers as a title, its interval as a line through it."""
    style, shape, top = f"g{group % COLOURS}", _SHAPES[group % len(_SHAPES)], down.at(point.y)
    words = f"{x.title} {x.show(point.x)}, {y.title} {y.show(point.y)}"
    interval = ""
    if point.interval is not None:
        low, high = point.interval
        words += f" ({y.show(low)} to {y.show(high)})"
        interval = f'<line class="{style}" y1="{down.at(low) - top:.1f}" y2="{down.at(high) - top:.1f}"/>'
    ring = '<circle class="ring" r="9"/>' if point.front else ""
    named = ": ".join(filter(None, (point.group, point.label, words)))
    return (
        f'<svg x="{percent(across.at(point.x))}" y="{top:.1f}"><title>{in_html(named)}</title>'
        f'{interval}<path class="{style}" d="{shape}"/>{ring}</svg>'
    )


def _labels(points: Sequence[Point], across: _Scale, down: _Scale) -> Iterator[str]:
    """Beside their points where they are free of each other on the narrowest screen; the front's come first."""
    taken: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda point: not point.front):
        place, top, width = across.at(point.x), down.at(point.y) - 8, _SIGN_WIDTH * len(point.label)
        leftwards = place * _NARROWEST / 100 + width + 10 > _NARROWEST
        left = place * _NARROWEST / 100 + (-width - 10 if leftwards else 10)
        crowded = any(
            abs(top - other) < _SIGN_HEIGHT and left < end and begin < left + width for begin, end, other in taken
        )
        if not point.label or crowded:
            continue
        taken.append((left, left + width, top))
        anchor, shift = ("end", -10) if leftwards else ("start", 10)
        yield (
            f'<svg x="{percent(place)}" y="{top:.1f}"><text x="{shift}" text-anchor="{anchor}">'
            f"{in_html(point.label)}</text></svg>"
        )


def _legend(names: Sequence[str], groups: dict[str, int]) -> Iterator[str]:
    for line, name in enumerate(names):
        top, group = _BOTTOM + 52 + 18 * line, groups[name]
        shape = f'<path class="g{group % COLOURS}" d="{_SHAPES[group % len(_SHAPES)]}"/>'
        yield f'<svg x="8" y="{top - 4}">{shape}</svg>{text(20, top, name)}'


def _groups(points: Sequence[Point]) -> dict[str, int]:
    """Each group's number, in the order of their first points."""
    return {name: number for number, name in enumerate(dict.fromkeys(point.group for point in points))}
