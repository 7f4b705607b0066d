"""Charts are well-formed SVG, lie inside of their frame, and can be read without seeing them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon.report.chart import Bar, bar_pair, bars, standalone
from convsurgeon.report.plot import Axis, Point, curves, scatter

SVG = "{http://www.w3.org/2000/svg}"
SHARE = Axis("MACs kept", "{:.0%}".format)
PLAIN = Axis("agreement", "{:.3g}".format)
NUMBERS = st.floats()
POINTS = st.builds(
    Point,
    st.text(max_size=20),
    NUMBERS,
    NUMBERS,
    st.none() | st.tuples(NUMBERS, NUMBERS),
    st.text(max_size=5),
    st.booleans(),
)


def _parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(standalone(svg))


@settings(max_examples=40)
@given(st.lists(POINTS, max_size=6))
def test_any_points_make_a_chart_inside_of_its_frame(points: list[Point]) -> None:
    """Whatever texts and numbers: well-formed, every horizontal place between 0 and 100 %, nothing above or below."""
    for draw in (scatter, curves):
        root = _parsed(draw(points, SHARE, PLAIN, title="<all> & more"))
        assert root.findtext(f"{SVG}title") == "<all> & more"
        height = float(root.attrib["height"])
        for element in root.iter():
            for key in ("x", "x1", "x2"):
                if (place := element.get(key, "0%")).endswith("%"):
                    assert 0 <= float(place[:-1]) <= 100
            for key in ("y1", "y2") if element.get("x1") else ():
                assert 0 <= float(element.attrib[key]) <= height


def test_a_point_says_its_numbers_and_the_front_is_joined() -> None:
    """Each mark has label, numbers and interval as its title; the front's points have a ring and lines between them."""
    points = [
        Point("50%", 0.5, 0.98, (0.95, 1.0), "auto", front=True),
        Point("25%", 0.25, 0.9, None, "igc", front=True),
        Point("bad", 0.6, 0.5, None, "igc"),
    ]
    svg = scatter(points, SHARE, PLAIN, title="t")
    assert "auto: 50%: MACs kept 50%, agreement 0.98 (0.95 to 1)" in svg
    assert (svg.count('class="ring"'), svg.count('class="front"')) == (2, 1)
    assert all(f">{name}</text>" in svg for name in ("auto", "igc", "50%", "25%", "bad"))


def test_labels_that_would_cover_each_other_are_left_out() -> None:
    """Of two points in one place the front's is named; apart, both are."""
    near = [Point("worse", 0.5, 0.9), Point("better", 0.5, 0.9, front=True), Point("", 1, 0)]
    apart = [Point("worse", 0.1, 0.2), Point("better", 0.5, 0.9, front=True), Point("", 1, 0)]
    assert [name in scatter(near, SHARE, PLAIN, title="t") for name in (">worse<", ">better<")] == [False, True]
    assert [name in scatter(apart, SHARE, PLAIN, title="t") for name in (">worse<", ">better<")] == [True, True]


@pytest.mark.parametrize(("before", "after", "most", "widths"), [(4, 1, 8, ["50%", "12.5%"]), (0, 0, 0, ["0%", "0%"])])
def test_bars_are_shares_of_the_most(before: float, after: float, most: float, widths: list[str]) -> None:
    """A pair of bars is as long as its numbers' shares; nothing at all is no division by zero."""
    assert re.findall(r'width="([\d.]+%)" height="6"', bar_pair(before, after, most)) == widths


def test_a_bar_chart_names_every_row() -> None:
    """Labels and numbers stand beside the bars, escaped."""
    root = _parsed(bars([Bar("a<b>", 4, 1, "4 → 1"), Bar("c", 2, 2, "2")], title="t"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts == ["t", "a<b>", "4 → 1", "c", "2"]


@pytest.mark.parametrize(("most", "shown"), [(1.0, False), (math.inf, True)])
def test_an_axis_ends_where_there_is_no_more(most: float, shown: bool) -> None:
    """No share above 100 % is written, and such errors are."""
    points = [Point("", step, value) for step, value in enumerate((1.0, 1.0))]
    svg = curves(points, Axis("step", "{:.0f}".format), Axis("accuracy", "{:.0%}".format, most), title="by step")
    written = [int(words) for words in re.findall(r">(\d+)%<", svg)]
    assert 100 in written
    assert any(value > 100 for value in written) is shown
