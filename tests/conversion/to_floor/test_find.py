"""A search on a small network, from the request to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon import Floor, UsageError, read_plan
from convsurgeon.base.errors import TargetError
from convsurgeon.conversion import damage
from convsurgeon.report.lines import target_lines
from tests.conversion.floor_nets import inputs, labelled, small_net

EXAMPLE = torch.zeros(1, 3, 8, 8)
JUDGED = inputs(320, 1)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))


def _converted(net: nn.Module, **asked: object) -> convsurgeon.Conversion:
    settings = {"method": "igc", "calibration": inputs(64, 0), "judging": JUDGED, **asked}
    return convsurgeon.convert(net, EXAMPLE, **settings)  # type: ignore[arg-type]


def test_a_floor_is_kept_and_the_search_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is measured once, the model stays, the result keeps the floor, and plan and report tell of each probe."""
    measured: list[object] = []
    real = damage.measure_damage
    monkeypatch.setattr(damage, "measure_damage", lambda *a, **k: (measured.append(a), real(*a, **k))[1])
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    done = _converted(net, at_least="output-error=5%")
    assert len(measured) == 1
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    search = done.plan.floor
    assert search is not None
    assert 1 < len(search.probes) <= 6
    assert (search.at_least, search.minimised) == (("output-error=5%",), "macs")
    best = search.best
    assert best is not None
    assert best.macs == done.plan.after.macs == min(probe.macs for probe in search.probes if probe.kept)
    assert best.verdicts[0].bound is not None
    assert best.verdicts[0].bound <= 0.05
    assert done.report.fidelity is not None
    assert done.report.fidelity.output_error == pytest.approx(best.verdicts[0].seen)
    assert done.report.fidelity.inputs == best.verdicts[0].inputs == 328
    lines = target_lines(done.report)
    assert any(line.startswith("floor output-error=5%: ") and "328 inputs" in line for line in lines)


def test_agreement_and_accuracy_are_judged_beside_each_other() -> None:
    """Several floors are all kept; accuracy by points looks at labels."""
    net = small_net()
    evaluation = labelled(net, JUDGED)
    done = _converted(net, at_least=["agreement=90%", "top1=-10"], judging=None, evaluation=evaluation)
    assert done.plan.floor is not None
    assert done.plan.floor.best is not None
    agreed, points = done.plan.floor.best.verdicts
    assert agreed.bound is not None
    assert agreed.bound >= 0.9
    assert points.bound is not None
    assert points.bound >= -0.1
    assert points.inputs == 320


def test_a_score_is_asked_of_copies() -> None:
    """Any function that scores a network may be a floor; what it does to the network it is given stays there."""
    net, images = small_net(), torch.cat(JUDGED)
    with torch.no_grad():
        wanted = net(images)

    def closeness(model: nn.Module) -> float:
        assert not model.training
        with torch.no_grad():
            found = model(images)
            for parameter in model.parameters():
                parameter.zero_()
        return -float((found - wanted).square().mean() / wanted.var())

    done = _converted(net, at_least=Floor.of_score(closeness, -0.1))
    with torch.no_grad():
        assert -0.1 <= -float((done.model(images) - wanted).square().mean() / wanted.var()) < 0
    with pytest.raises(TargetError, match="the original itself scores 0"):
        _converted(net, at_least=Floor.of_score(lambda model: 0.0, 0.5))
    with pytest.raises(UsageError, match=r"ZeroDivisionError.*Expected a function"):
        _converted(net, at_least=Floor.of_score(lambda model: 1 / 0, 0.5))


def test_too_few_inputs_are_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the inputs that there are and those that are needed; with these the search begins."""

    def begun(*_: object, **__: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(damage, "measure_damage", begun)
    with pytest.raises(TargetError, match=r"on 298 inputs .* 299 would be needed"):
        _converted(small_net(), at_least="agreement=99%", judging=inputs(290, 1))
    with pytest.raises(InterruptedError):
        _converted(small_net(), at_least="agreement=99%", judging=inputs(291, 1))


def test_a_floor_out_of_reach_names_the_best_that_can_be_had() -> None:
    """Beside a tight target none of the networks keeps a high floor; a low one is kept beside the same target."""
    with pytest.raises(TargetError, match=r"beside target params=20%.*The best that can be had keeps .*output-error"):
        _converted(small_net(), at_least="output-error=0.01%", target="params=20%")
    done = _converted(small_net(), at_least="output-error=95%", target="params=20%")
    assert done.plan.after.params <= 0.2 * done.plan.before.params


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"calibration": None}, "pass --calibrate DIR"),
        ({"random_weights": True}, "needs trained weights"),
        ({"at_least": "top1=-1"}, "pass --evaluate DIR"),
        ({"at_least": "top1=99%", "evaluation": [(JUDGED[0], torch.zeros(32).long())]}, "299 would be needed"),
    ],
)
def test_what_a_search_needs_is_said(asked: dict[str, object], words: str) -> None:
    """Without inputs, trained weights or labels there is one error with what to do."""
    with pytest.raises(UsageError, match=words):
        _converted(small_net(), **{"at_least": "output-error=5%", **asked})


def test_a_plan_to_a_floor_can_be_carried_out_and_edited() -> None:
    """``plan`` finds a network that ``apply`` makes; an edited plan no longer says that it keeps the floor."""
    asked = {"method": "igc", "calibration": inputs(64, 0), "judging": JUDGED}
    net = small_net()
    found = convsurgeon.plan(net, EXAMPLE, at_least="output-error=5%", **asked)  # type: ignore[arg-type]
    assert found.floor is not None
    again = read_plan(found.to_json())
    assert again == found
    done = convsurgeon.apply(net, again, EXAMPLE, calibration=inputs(64, 0), judging=JUDGED)
    assert done.report.fidelity is not None
    assert found.floor.best is not None
    assert done.report.fidelity.output_error == pytest.approx(found.floor.best.verdicts[0].seen, rel=1e-3)
    content = json.loads(found.to_json())
    row = next(row for row in content["layers"] if row["action"] == "replaced")
    row.update(action="kept", spec=None)
    edited = read_plan(json.dumps(content))
    assert edited.floor is None
    assert edited.after.macs > found.after.macs


def test_plans_without_a_floor_do_not_mention_it() -> None:
    """Their JSON is what it always was."""
    plan = convsurgeon.plan(small_net(), EXAMPLE, method="igc", target="macs=50%")
    assert "floor" not in json.loads(plan.to_json())


def test_latency_can_be_what_is_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are timed once, budgets are times, and the network that is found is measured beside its original."""
    from tests.conversion.time_table import TableKeeper, by_macs

    table = TableKeeper(by_macs)
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda runtime, precision: table)
    done = _converted(small_net(), at_least="output-error=5%", minimise="latency")
    assert done.plan.floor is not None
    assert done.plan.floor.minimised == "latency"
    assert done.plan.latency is not None
    assert done.plan.latency.measured_after_ns is not None
    assert done.plan.target[-1].startswith("latency=")


def test_a_latency_target_stands_beside_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network tried meets the time, as it was measured; a floor that none of them keeps is named beside it."""
    from tests.conversion.time_table import TableKeeper, by_macs

    table = TableKeeper(by_macs, rest=0, realised=0.8)
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda *_: table)
    done = _converted(small_net(), at_least="output-error=50%", target="latency=60%")
    latency = done.plan.latency
    assert latency is not None
    assert latency.ratio is not None
    assert latency.ratio <= 0.65
    assert "latency=60%" in done.plan.target
    assert done.plan.floor is not None
    assert done.plan.floor.best is not None
    assert done.plan.floor.best.macs == done.plan.after.macs
    with pytest.raises(TargetError, match=r"floor output-error=0.0001% beside target latency=60% was not kept"):
        _converted(small_net(), at_least="output-error=0.0001%", target="latency=60%")
