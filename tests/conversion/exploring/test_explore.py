"""Explorations: one measurement, every network judged alike, nothing lost by an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import convsurgeon
from convsurgeon import UsageError
from convsurgeon.base.errors import TargetError, UnknownName
from convsurgeon.conversion import damage
from convsurgeon.conversion.exploring import Exploration, explore
from tests.conversion.floor_nets import inputs, labelled, small_net
from tests.conversion.time_table import TableKeeper, by_macs

EXAMPLE = torch.zeros(1, 3, 8, 8)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))


def _explored(**asked: Any) -> Exploration:
    settings = {"methods": "igc", "targets": "60,40", "calibration": inputs(64, 0), "judging": inputs(64, 1)}
    return convsurgeon.explore(small_net(), EXAMPLE, **{**settings, **asked})


def test_every_network_is_in_the_table_and_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is measured once; what can't be had says why; a saved network is the one of the table."""
    measured: list[object] = []
    real = damage.measure_damage
    monkeypatch.setattr(damage, "measure_damage", lambda *a, **k: (measured.append(a), real(*a, **k))[1])
    net = small_net()
    found = _explored(methods="igc,spatial", targets="60,40,1", evaluation=labelled(net, inputs(64, 2)))
    assert len(measured) == 1
    names = [point.name for point in found.comparison.points]
    assert names[:3] == ["original", "igc-60", "igc-40"]
    assert {refused.name for refused in found.comparison.refused} == {"igc-1", "spatial-1"}
    assert found.comparison.quality == "accuracy"
    assert "igc-40" in str(found)
    point = next(point for point in found.comparison.points if point.name == "igc-40")
    saved = found.save("igc-40", tmp_path / "net")
    report = convsurgeon.compare(saved, found.save("igc-60", tmp_path / "other")).points[1]
    assert (report.after, report.fidelity) == (point.after, point.fidelity)
    for name in ("igc-1", "igc-50"):
        with pytest.raises(UnknownName, match=f"no network '{name}'"):
            found.convert(name)


def test_an_interrupted_exploration_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished before the interruption is taken as it is, and other data begin anew."""
    fits: list[str] = []
    real = explore.fitted

    def interrupted(patient: Any, plan: Any, *rest: Any, **more: Any) -> Any:
        fits.append(plan.target[0])
        if len(fits) == 2:
            raise KeyboardInterrupt
        return real(patient, plan, *rest, **more)

    monkeypatch.setattr(explore, "fitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _explored()
    found = _explored()
    assert fits == ["macs=60%", "macs=40%", "macs=40%"]
    assert _explored().to_json() == found.to_json()
    assert len(fits) == 3
    _explored(judging=inputs(64, 3))
    assert len(fits) == 5


def test_times_are_taken_beside_the_original_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """With latency each network is timed once on a machine; without it no time is shown."""
    table = TableKeeper(by_macs)
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda runtime, precision: table)
    found = _explored(latency=True)
    assert all(point.timing is not None for point in found.comparison.points)
    assert "latency" in found.comparison.fronts
    built = table.built
    assert _explored(latency=True).to_json() == found.to_json()
    assert table.built == built
    assert "latency" not in _explored().comparison.fronts


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"calibration": None}, "pass --calibrate DIR"),
        ({"calibration": inputs(7, 0), "judging": None}, "all are fitted on"),
        ({"calibration": inputs(64, 0), "evaluation": [(torch.cat(inputs(64, 0))[:7], torch.zeros(7).long())]}, "none"),
        ({"methods": "nope"}, "unknown method"),
    ],
)
def test_what_an_exploration_needs_is_said(asked: dict[str, Any], words: str) -> None:
    """Without inputs to fit or to judge on there is one error with what to do."""
    with pytest.raises(UsageError, match=words):
        _explored(**asked)


def test_a_floor_of_the_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not hold for the networks of the table; the same recipe without it is explored."""
    monkeypatch.setattr(explore._Run, "all", lambda self: self.finished.update({}))
    asked = convsurgeon.Recipe(method="igc", at_least="output-error=5%")
    with pytest.raises(UsageError, match="at_least=output-error=5%; leave that out"):
        _explored(recipe=asked)
    monkeypatch.undo()
    assert _explored(recipe=asked.model_copy(update={"at_least": ()}), targets="60").comparison.points


def test_an_exploration_without_any_network_is_an_error() -> None:
    """With the reason; one that can be had beside it makes the reason a line of the table."""
    with pytest.raises(TargetError, match=r"no network of the exploration can be had\. target macs=1% "):
        _explored(targets="1")
    assert [refused.name for refused in _explored(targets="60,1").comparison.refused] == ["igc-1"]


def test_what_was_too_slow_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal in milliseconds is of its moment; one in MACs holds and is kept."""
    asked: list[str] = []

    def refused(_: Any, problem: Any, __: Any) -> Any:
        asked.append(problem.targets[0].text)
        raise TargetError("no")

    monkeypatch.setattr(explore, "planned_by", refused)
    for _ in range(2):
        with pytest.raises(TargetError):
            _explored(targets="latency=60%,40")
    assert asked == ["latency=60%", "macs=40%", "latency=60%"]


def test_odd_calibration_inputs_are_said_of_an_exploration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal inputs bring a note, inputs of one value all over are refused before damage is measured, others pass."""
    odd = "all 56 calibration inputs that were fitted on are equal"
    same = [batch[:1].expand(64, -1, -1, -1) for batch in inputs(64, 0)[:1]]
    assert [note for note in _explored(calibration=same, targets="60").comparison.notes if note.startswith(odd)]
    assert not [note for note in _explored(targets="60").comparison.notes if "equal" in note]
    monkeypatch.setattr(damage, "measure_damage", None)
    with pytest.raises(UsageError, match="without any difference"):
        _explored(calibration=[torch.zeros(64, 3, 8, 8)])
