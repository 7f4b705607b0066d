"""Comparisons: which results nobody beats, where the knee is, and what saved folders say of themselves."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import convsurgeon
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.planning.plan import CostRecord, PlanLatency
from convsurgeon.report.comparison import Comparison, doubts, timing_doubts
from convsurgeon.report.comparison_terminal import marks, render, verdict
from convsurgeon.report.front import knee_of, pareto_front
from convsurgeon.report.page.comparison import to_html
from convsurgeon.report.point import Point
from convsurgeon.report.record import Fidelity, Timing
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread
from tests.conversion.floor_nets import inputs, small_net
from tests.report.reports import layer, report

NUMBERS = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12))
def test_the_front_is_what_nobody_beats(results: list[tuple[float, float]]) -> None:
    """Everything outside of it is beaten, or equalled, by something on it; nothing on it is."""
    front = pareto_front(results)
    for i, (cost, quality) in enumerate(results):
        beaten = any(
            (c <= cost and q >= quality) and (c < cost or q > quality or j < i)
            for j, (c, q) in enumerate(results)
            if j != i
        )
        assert (i in front) != beaten
    assert [results[i] for i in front] == sorted(results[i] for i in front)


def test_the_knee_is_the_last_before_the_fall() -> None:
    """On a bent front it is the corner; on a straight one, or one of two points, there is none."""
    assert knee_of([(1, 0.2), (2, 0.85), (5, 0.95), (10, 1.0)]) == 1
    assert knee_of([(1, 0.1), (2, 0.2), (3, 0.3)]) is None
    assert knee_of([(1, 0.1), (2, 0.9)]) is None


def _point(name: str, macs: int, accuracy: float | None, *, agreement: float = 0.9) -> Point:
    fidelity = Fidelity(
        inputs=100, top1_agreement=agreement, evaluated=100 if accuracy is not None else 0,
        accuracy_before=None if accuracy is None else 0.95, accuracy_after=accuracy,
    )  # fmt: skip
    cost = CostRecord(macs=macs, params=macs // 10)
    before = CostRecord(macs=1000, params=100)
    return Point(name=name, model="net", method="igc", before=before, after=cost, fidelity=fidelity)


def test_all_are_compared_by_what_all_of_them_have() -> None:
    """Accuracy where everything was judged on labels, agreement otherwise; the original stands before all."""
    labelled = [_point("a", 500, 0.93), _point("b", 200, 0.9), _point("c", 300, 0.8)]
    found = Comparison.of(labelled)
    assert found.quality == "accuracy"
    assert [point.name for point in found.points] == ["original", "a", "b", "c"]
    assert found.fronts["macs"] == ("b", "a", "original")
    assert "latency" not in found.fronts
    assert marks(found, found.points[-1]) == []
    assert found.knees["macs"] in ("a", "b")
    assert verdict(found).startswith("knee (")
    assert Comparison.of([*labelled, _point("d", 100, None)]).quality == "agreement"
    assert Comparison.model_validate_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("others", "words"), [(("eager", 1), "timed in a run of its own"), (("openvino", 1), "different places"),
                          (("eager", 8), "different places")]
)  # fmt: skip
def test_times_of_different_runs_are_no_measure_of_each_other(others: tuple[str, int], words: str) -> None:
    """One note says so; what was not timed needs none."""
    first, second = _point("a", 500, 0.93), _point("b", 200, 0.9)
    assert not [note for note in doubts([first, second]) if "timed" in note]
    timed = [
        first.model_copy(update={"timing": _timing("eager", 1)}),
        second.model_copy(update={"timing": _timing(*others)}),
    ]
    assert [words in note for note in doubts(timed)] == [True]


def _timing(runtime: str, batch: int) -> Timing:
    spread = Spread.of([1e6, 2e6])
    place = Place(runtime=runtime, precision="float32", device="a CPU", threads=1, torch="2")
    return Timing(place=place, batch=batch, original=spread, converted=spread)


def test_names_from_outside_are_escaped_on_the_page() -> None:
    """A folder's name is text, whatever it looks like."""
    page = to_html(Comparison.of([_point("<script>alert(1)</script>", 500, 0.9), _point("b", 200, 0.8)]))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_saved_conversions_are_compared_by_their_reports(tmp_path: Path) -> None:
    """Two folders stand side by side; one alone, one twice or one that is none is refused."""
    net, data = small_net(), inputs(64, 0)
    for share in (60, 40):
        done = convsurgeon.convert(
            net, data[0][:1], method="igc", target=f"macs={share}%", calibration=data, progress=False
        )
        done.save(tmp_path / f"at{share}")
    one, other = tmp_path / "at60", tmp_path / "at40"
    found = convsurgeon.compare(one, other)
    assert [point.name for point in found.points] == ["original", "at60", "at40"]
    assert found.quality == "agreement"
    assert found.points[2].after.macs <= 0.4 * found.points[0].after.macs
    for folders in ((one,), (one, one)):
        with pytest.raises(UsageError, match="two or more folders"):
            convsurgeon.compare(*folders)
    with pytest.raises(UnknownName, match="no saved model"):
        convsurgeon.compare(one, tmp_path)


@pytest.mark.parametrize("busy", [True, False])
def test_times_of_a_busy_machine_are_named(busy: bool) -> None:
    """The networks whose time says little, and no others."""
    timed = _point("a", 500, 0.93).model_copy(update={"timing": _timing("eager", 1).model_copy(update={"busy": busy})})
    still = _point("b", 500, 0.93).model_copy(update={"timing": _timing("eager", 1)})
    found = [note for note in timing_doubts([timed, still]) if "BUSY" in note]
    assert found == ["other programs kept the processor from a: times of a BUSY machine say little"] * busy


@pytest.mark.parametrize("measured", [True, False])
def test_what_a_plan_for_time_was_measured_to_take_is_its_time(measured: bool) -> None:
    """The plan's own measurement stands for a timing that was not made; a prediction does not."""
    place = _timing("eager", 4).place
    found = {"measured_before_ns": 8_000_000, "measured_after_ns": 6_000_000} if measured else {}
    latency = PlanLatency(place=place, batch=4, before_ns=8_000_000, predicted_ns=5_000_000, realised=1.0, **found)
    planned = report((layer("a"),))
    point = Point.of("a", planned.model_copy(update={"plan": planned.plan.model_copy(update={"latency": latency})}))
    assert point.cost("latency") == (0.75 if measured else None)


def test_a_narrow_terminal_breaks_no_word() -> None:
    """Where the table's words would be cut, each network has a line instead."""
    found = Comparison.of([_point("igc-50", 500, 0.93), _point("a-long-name-of-a-folder", 200, 0.9)])
    wide, narrow = (_shown(found, width) for width in (120, 50))
    assert "━" in wide
    assert "━" not in narrow
    assert all(word in narrow for word in ("igc-50: MACs 500", "a-long-name-of-a-folder: MACs", "original"))


def _shown(comparison: Comparison, width: int) -> str:
    console = Console(width=width, file=StringIO())
    console.print(render(comparison))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_knee_is_named_with_all_its_costs() -> None:
    """The sentence and the table's mark say the same."""
    points = [_point("a", 200, 0.91), _point("b", 500, 0.93), _point("c", 900, 0.935)]
    found = Comparison.of(points)
    mark = marks(found, found.points[2])[-1]
    assert mark == "knee (macs, params)"
    assert verdict(found).startswith(f"{mark}: b keeps")
