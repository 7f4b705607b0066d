"""The page: self-contained, escaped, in order, small, and readable by everybody."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import convsurgeon
from convsurgeon.report.chart import CHART_STYLE
from convsurgeon.report.page.conversion import page_of, summary_html, to_html
from convsurgeon.report.record import Report
from tests.report.reports import HOSTILE, everything, layer, report, timing

_VOID = {"meta", "link", "br", "img"}
CSS = (Path(convsurgeon.__file__).parent / "report" / "page" / "page.css").read_text(encoding="utf-8")


class _Tags(HTMLParser):
    """All tags with their attributes, and whether each was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("text", ["", HOSTILE])
def test_a_page_asks_nothing_of_anybody(text: str) -> None:
    """No script, no handler, no address to fetch from; texts from outside add no tag and no attribute."""
    page = to_html(everything(text=text))
    found = _Tags(page).tags
    assert {tag for tag, _ in found} & {"script", "img", "iframe", "object", "form", "a:href"} == set()
    assert [tag for tag, _ in found] == [tag for tag, _ in _Tags(to_html(everything())).tags]
    for tag, attributes in found:
        assert not any(name.startswith("on") for name in attributes), tag
        assert all(value in ("#content", "data:,") for name, value in attributes.items() if name in ("href", "src"))
    assert "url(" not in page
    assert not set("\u202e\x1b\x00") & set(page)


def test_a_page_tells_everything() -> None:
    """Numbers first, groups with reasons, origin, notes, curves, groups learned, each layer, the words, the command."""
    page = to_html(everything())
    words = [
        "MACs kept",
        "61.7 %",
        "Top-1 after recovery",
        "stem",
        "grouped",
        "weights (file): w.pth",
        "a note",
        "top-1 accuracy",
    ]
    words += ["Learned groups", "stage0.conv", "1.23%", "0.002 ms", "IGC L4M1 w64", "convsurgeon convert net"]
    assert [word for word in words if word not in page] == []
    assert page.index("MACs kept") < page.index("What became of") < page.index("Every convolution")


@pytest.mark.parametrize("shown", [everything(), report((layer("a"),))], ids=["everything", "least"])
def test_a_page_can_be_read_by_everybody(shown: Report) -> None:
    """One h1 and headings in order, every table with a caption and headers, every chart named, a language, a title."""
    found = _Tags(to_html(shown)).tags
    names = [tag for tag, _ in found]
    levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert names.count("table") == names.count("caption") == names.count("thead")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in found if tag == "th")
    assert {attributes.get("lang") for tag, attributes in found if tag == "html"} == {"en"}
    assert {"title", "main", "header", "footer"} <= set(names)
    charts = [attributes for tag, attributes in found if tag == "svg" and attributes.get("class") == "chart"]
    assert all(chart.get("role") == "img" or chart.get("aria-hidden") == "true" for chart in charts)


def test_a_page_of_400_layers_is_below_a_megabyte() -> None:
    """Size grows with the layers, by less than 2.5 kB each."""
    assert len(to_html(everything(400)).encode()) < 1_000_000


def test_time_is_only_claimed_where_it_was_measured() -> None:
    """Not measured, faster, and plainly not faster."""
    layers = (layer("a"),)
    titles = [
        {figure.title for figure in page_of(shown).figures}
        for shown in (report(layers), report(layers, timing=timing(8, 6)), report(layers, timing=timing(8, 9)))
    ]
    assert ["Time" in titles[0], "Time kept" in titles[1], "Time: not faster" in titles[2]] == [True] * 3


def test_a_command_is_there_even_where_none_was_kept() -> None:
    """Of what was made in Python, the call; else the command that the plan stands for."""
    assert "convsurgeon convert net --method igc --target macs=50%" in to_html(report((layer("a"),)))


def test_a_notebook_gets_the_numbers_and_no_document() -> None:
    """The cell holds headline numbers and groups, escaped, and neither html nor body."""
    cell = summary_html(everything(text=HOSTILE))
    assert {tag for tag, _ in _Tags(cell).tags} & {"html", "body", "script", "img"} == set()
    assert "MACs kept" in cell
    assert everything(text=HOSTILE)._repr_html_() == cell


def _luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * sign for sign in colour)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    lights = sorted((_luminance(one), _luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.mark.parametrize(
    ("style", "least", "texts"),
    [
        (CSS, {"ink": 4.5, "soft": 4.5, "link": 4.5, "warn": 4.5}, ("paper", "shade")),
        (CHART_STYLE, {"ink": 4.5, "soft": 4.5, "before": 3, "after": 3, **{f"g{n}": 3 for n in range(6)}}, ("paper",)),
    ],
    ids=["page", "charts"],
)
def test_colours_stand_out(style: str, least: dict[str, float], texts: tuple[str, ...]) -> None:
    """Text has a contrast of 4.5 and marks of 3 to what they stand on: in light, in dark and in print."""
    blocks = [dict(re.findall(r"--(\w+):#([0-9a-f]{3,6})", part)) for part in style.split("@media")]
    schemes = [block for block in blocks if "paper" in block]
    assert len(schemes) == 3
    for scheme in ({**schemes[0], **changed} for changed in schemes):
        for name, wanted in least.items():
            assert all(_contrast(scheme[name], scheme[under]) >= wanted for under in texts), (name, scheme)
