"""Charts as inline SVG: pure functions of frozen records, without a script, at any width; `plot` has those with axes.

Horizontal places are shares of the width (SVG's percentages), vertical ones pixels: text keeps its size on a phone.
Each mark has its numbers as a title; whoever shows a chart repeats them in a table, for those who can't see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsurgeon.base.outside_text import in_html

__all__ = ["CHART_STYLE", "COLOURS", "Bar", "bar_pair", "bars", "figure", "percent", "standalone", "text"]

# Of groups.
COLOURS = 6
# Colours with at least 3:1 (marks) and 4.5:1 (text) on their paper; groups differ in shape, too.
CHART_STYLE = """\
.chart{--ink:#1f2933;--soft:#52606d;--grid:#d5dbe1;--paper:#fff;--before:#7b8794;--after:#1d5fd1;
--g0:#1d5fd1;--g1:#b4441a;--g2:#13795b;--g3:#8a3ab9;--g4:#8a6100;--g5:#b3246b;
display:block;overflow:visible;font:12px system-ui,sans-serif}
@media (prefers-color-scheme:dark){.chart{--ink:#e6ebf0;--soft:#a9b5c0;--grid:#39434d;--paper:#15191d;--before:#8b98a5;
--after:#6fa8ff;--g0:#6fa8ff;--g1:#ff9a6b;--g2:#5fcfa5;--g3:#cf9bf0;--g4:#e0b64a;--g5:#f58ab8}}
@media print{.chart{--ink:#1f2933;--soft:#52606d;--grid:#d5dbe1;--paper:#fff;--before:#7b8794;--after:#1d5fd1;
--g0:#1d5fd1;--g1:#b4441a;--g2:#13795b;--g3:#8a3ab9;--g4:#8a6100;--g5:#b3246b}}
.chart svg{overflow:visible}.chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}
.chart .paper{fill:var(--paper)}.chart .before{fill:var(--before)}.chart .after{fill:var(--after)}
.chart line{stroke:var(--grid)}.chart .front{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
.chart .ring{fill:none;stroke:var(--ink);stroke-width:1.5}
""" + "".join(f".chart .g{n}{{fill:var(--g{n});stroke:var(--g{n})}}" for n in range(COLOURS))


@dataclass(frozen=True)
class Bar:
    """Something before and after, with both numbers as ``text``."""

    label: str
    before: float
    after: float
    text: str


def bar_pair(before: float, after: float, most: float) -> str:
    """Two bars for a cell of a table, as shares of ``most``; the numbers stand beside it."""
    first, second = (percent(100 * value / most) if most > 0 else "0%" for value in (before, after))
    return (
        '<svg class="chart" width="100%" height="13" aria-hidden="true">'
        f'<rect class="before" width="{first}" height="6"/>'
        f'<rect class="after" y="7" width="{second}" height="6"/></svg>'
    )


def bars(rows: Sequence[Bar], *, title: str) -> str:
    """A line for each row: its label, both bars, and its numbers to their right."""
    most = max((max(row.before, row.after) for row in rows), default=0.0) or 1.0
    drawn = []
    for number, row in enumerate(rows):
        top = 24 + 36 * number
        drawn.append(
            f'<g><title>{in_html(f"{row.label}: {row.text}")}</title><text y="{top + 10}">{in_html(row.label)}</text>'
            f'<rect class="before" y="{top + 15}" width="{percent(60 * row.before / most)}" height="7"/>'
            f'<rect class="after" y="{top + 23}" width="{percent(60 * row.after / most)}" height="7"/>'
            f'<text class="soft" x="62%" y="{top + 26}">{in_html(row.text)}</text></g>'
        )
    return figure(title, 24 + 36 * len(rows), [text(0, 12, title, "font-weight:600"), *drawn])


def standalone(chart: str, width: int = 720) -> str:
    """A chart that carries its own style and paper, as a file or a notebook's cell; ``width`` in pixels."""
    start, body = chart.split(">", 1)
    start = start.replace('width="100%"', f'xmlns="http://www.w3.org/2000/svg" width="{width}" style="max-width:100%"')
    return f'{start}><style>{CHART_STYLE}</style><rect class="paper" width="100%" height="100%"/>{body}'


def figure(title: str, height: float, body: Sequence[str]) -> str:
    """A chart of its parts; ``height`` in pixels."""
    head = f'<svg class="chart" width="100%" height="{height:.0f}" role="img"><title>{in_html(title)}</title>'
    return f"{head}{''.join(body)}</svg>"


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Words at a place in pixels."""
    styled = f' style="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{styled}>{in_html(words)}</text>'


def percent(value: float) -> str:
    """A share of the width, e.g. ``12.5%``."""
    return f"{value:.2f}".rstrip("0").rstrip(".") + "%"
