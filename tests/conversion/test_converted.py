"""A conversion in an interpreter or a notebook: short, plain, and as data; and what it brought in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon import Conversion
from convsurgeon.base.inputs import as_inputs
from convsurgeon.conversion import quick_timing as module
from convsurgeon.conversion.quick_timing import quick_timing
from tests.report.reports import spread


@pytest.fixture(scope="module")
def done() -> Conversion:
    """Two convolutions, one of them replaced."""
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3))
    return convsurgeon.convert(net.eval(), torch.zeros(1, 3, 9, 9), method="compconv128", progress=False)


def test_an_interpreter_shows_one_line(done: Conversion) -> None:
    """Conversion, plan and report name the model, the method and what is kept, on one line each."""
    kept = done.report.after.macs / done.report.before.macs
    for thing in (done, done.plan, done.report):
        assert len(repr(thing)) < 160
        assert f"1 of 2 replaced, {kept:.1%} of the MACs" in repr(thing)
        assert "\n" not in repr(thing)


def test_printing_shows_what_the_terminal_shows(done: Conversion, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer, as wide as the terminal; no module's listing."""
    monkeypatch.setenv("COLUMNS", "80")
    text = str(done)
    assert text.startswith("model with compconv128: 1 of 2 convolutions replaced\n")
    assert max(map(len, text.splitlines())) <= 80
    assert "BatchNorm2d" not in text


def test_rows_are_flat_and_alike(done: Conversion) -> None:
    """One record a layer, the same keys in each, sums as in the report."""
    rows = done.rows()
    assert len({tuple(row) for row in rows}) == 1
    saved = [int(row["macs_before"] or 0) - int(row["macs_after"] or 0) for row in rows]
    assert sum(saved) == done.report.before.macs - done.report.after.macs


def test_a_plot_is_an_svg_that_stands_alone(done: Conversion, tmp_path: Path) -> None:
    """It parses, names each layer, is shown by notebooks and written to a file."""
    picture = done.plot()
    ElementTree.fromstring(picture._repr_svg_())
    assert picture.save(tmp_path / "p.svg").read_text(encoding="utf-8") == str(picture)
    assert "2 (CompConv d=1 p=32)" in str(picture)
    assert len(repr(picture)) < 50
    assert "MACs kept" in done._repr_html_()
    assert done.to_html().startswith("<!doctype html>")


def test_a_bar_shows_by_itself_and_can_be_kept_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """None shows a bar where people watch, False never; the caller's own is told instead."""
    told: list[str] = []
    started: list[bool] = []
    monkeypatch.setattr("convsurgeon.base.progress_bar.is_watched", lambda console: started.append(True) or False)
    net, image = nn.Sequential(nn.Conv2d(64, 64, 3)), torch.randn(1, 64, 9, 9)
    rules = convsurgeon.Rules(stem=True)
    choices: list[tuple[Any, int]] = [(None, 1), (False, 0), (lambda stage, *_: told.append(stage), 0)]
    for progress, bars in choices:
        started.clear()
        convsurgeon.convert(net, image, method="igc-l4m1", rules=rules, calibration=[image], progress=progress)
        assert len(started) == bars
    assert told


def test_a_quick_timing_leaves_both_networks_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are timed in turn in eval mode; statistics, train flags and a network's failure stay theirs."""
    monkeypatch.setattr(module, "time_in_turn", lambda runs, *_: tuple(spread(8 - i) for i, run in enumerate(runs)))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    inputs = as_inputs(torch.randn(2, 3, 9, 9))
    found = quick_timing(net, net, inputs)
    assert found is not None
    assert (found.ratio, found.batch, net.training) == (7 / 8, 2, True)
    assert torch.equal(net.get_submodule("1").get_buffer("running_mean"), torch.zeros(4))
    assert quick_timing(net, nn.Linear(5, 5), inputs) is None


def test_what_takes_long_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing is said of time; below it, something is."""
    monkeypatch.setattr(module, "time_in_turn", lambda runs, *_: (spread(1), spread(1)))
    net, inputs = nn.Conv2d(3, 4, 3), as_inputs(torch.randn(1, 3, 9, 9))
    assert quick_timing(net, net, inputs) is not None
    monkeypatch.setattr(module, "_CHEAP", 0.0)
    assert quick_timing(net, net, inputs) is None
