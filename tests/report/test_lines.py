"""What is said of time."""

from __future__ import annotations

import pytest

from convsurgeon.report.lines import goal_lines, target_lines
from convsurgeon.report.record import Fidelity
from tests.report.reports import layer, report, timing


@pytest.mark.parametrize(
    ("after", "words"), [(6, "measured: one forward takes 6.000 ms of 8.000 ms (75.0 %"), (8, "measured, NOT FASTER: ")]
)
def test_time_is_told_plainly(after: int, words: str) -> None:
    """A faster network is said to be, one that is not is said to be not; without a measurement, neither."""
    assert any(line.startswith(words) for line in goal_lines(report((layer("a"),), timing=timing(8, after))))
    assert any(line.startswith("not timed") for line in goal_lines(report((layer("a"),))))


@pytest.mark.parametrize("busy", [True, False])
def test_a_busy_machine_is_named_in_place_of_a_verdict(busy: bool) -> None:
    """What other programs slow down may look faster or not by chance."""
    timed = timing(8, 9).model_copy(update={"busy": busy})
    (line,) = (line for line in goal_lines(report((layer("a"),), timing=timed)) if line.startswith("measured"))
    assert line.startswith("measured on a BUSY machine: one forward takes 9.000 ms") is busy
    assert ("NOT FASTER" in line) is not busy


@pytest.mark.parametrize(("error", "words"), [(None, "on 5 held-back inputs: NOT COMPARED"), (0.5, "error 50.00%")])
def test_what_could_not_be_compared_is_said(error: float | None, words: str) -> None:
    """Where the model returns nothing that could be compared, the line stands there and says so."""
    shown = report((layer("a"),), fidelity=Fidelity(fitted=9, inputs=5, output_error=error))
    assert any(words in line for line in target_lines(shown))
    assert not any("held-back" in line for line in target_lines(report((layer("a"),), fidelity=Fidelity())))
