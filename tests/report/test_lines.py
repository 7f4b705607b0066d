"""What is said of time."""

from __future__ import annotations

import pytest

from convsurgeon.planning.floor_search import FloorSearch, Probe, Verdict
from convsurgeon.planning.floors import Measure
from convsurgeon.report.lines import goal_lines, target_lines
from convsurgeon.report.record import Fidelity, Report
from tests.report.reports import everything, layer, report, timing


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


def _probe(reached: float, strain: float, measure: Measure = "agreement") -> Probe:
    bound = None if measure == "score" else 0.99
    verdict = Verdict(floor="f", measure=measure, seen=0.995, bound=bound, inputs=32, strain=strain)
    return Probe(share=reached, reached=reached, macs=1, params=1, damage=0.1, verdicts=(verdict,))


def _searched(*probes: Probe) -> Report:
    shown = report((layer("a"),))
    search = FloorSearch(at_least=("f",), minimised="macs", probes=probes)
    return shown.model_copy(update={"plan": shown.plan.model_copy(update={"floor": search})})


@pytest.mark.parametrize(
    ("missed", "words"),
    [(0.38, ""), (0.2, "nothing between 20.0% and 40.0% was tried"), (None, "nothing smaller was tried")],
)
def test_a_search_says_where_it_did_not_look(missed: float | None, words: str) -> None:
    """Within five points below the best one nothing needs to be said."""
    lower = () if missed is None else (_probe(missed, 2.0),)
    found = [line for line in goal_lines(_searched(_probe(0.4, 0.5), *lower)) if line.startswith("nothing")]
    assert found == [words] * bool(words)


@pytest.mark.parametrize("measure", ["score", "agreement"])
def test_a_score_has_no_bound(measure: Measure) -> None:
    """It is believed, on inputs that it alone knows; all else was judged with a bound on so many inputs."""
    (line,) = (line for line in goal_lines(_searched(_probe(0.4, 0.5, measure))) if line.startswith("floor"))
    assert ("one-sided" in line) == ("32 inputs" in line) == (measure != "score")


@pytest.mark.parametrize("recovered", [True, False])
def test_a_floor_of_before_the_recovery_is_said_to_be(recovered: bool) -> None:
    """Training changes the weights that were judged."""
    shown = _searched(_probe(0.4, 0.5))
    if recovered:
        shown = shown.model_copy(update={"recovery": everything().recovery})
    assert any("before the recovery" in line for line in goal_lines(shown)) is recovered


def test_a_tiny_error_is_not_written_as_none() -> None:
    """Two digits of it, where two decimals would be zeros."""
    shown = Verdict(floor="output-error=0.0001%", measure="output-error", seen=4e-6, bound=5.1e-6, inputs=9, strain=5)
    assert shown.describe() == "output-error=0.0001%: 0.0004 %, at most 0.00051 % (9 inputs)"
