"""One network's examination: what is green, and that nothing that goes wrong passes for green."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compatibility import calibrated as calibration
from compatibility import cells
from compatibility import planned as by_damage
from compatibility.examine import Settings, examine
from compatibility.libraries import timm_models, torchvision_models
from compatibility.subjects import Subject, image
from tests.compatibility.networks import broken, detector, narrow, refused, subject, wide

SETTINGS = Settings(methods=("compconv", "auto"), export_method="")
ONE = replace(SETTINGS, methods=("compconv",))


def _torchvision(name: str, side: int) -> Subject:
    (found,) = [one for one in torchvision_models.subjects() if one.name == name]
    return replace(found, sides=(side,))


def test_a_slice_of_torchvision_is_handled() -> None:
    """A network of torchvision's passes every check of every method."""
    pytest.importorskip("onnxscript")
    row = examine(_torchvision("squeezenet1_1", 64), Settings(methods=("compconv", "auto"), export_macs=0))
    assert row.failures() == []
    assert row.green
    assert row.cells[-1].checks["export"].state == "ok"
    assert {cell.outcome for cell in row.cells} <= {"converted", "refused"}
    asked = {"convert", "unchanged", "forward", "counts", "target", "reload", "backward"}
    assert all(asked <= {name for name, check in cell.checks.items() if check.state == "ok"} for cell in row.cells)


def test_a_slice_of_timm_is_handled() -> None:
    """A network of timm's passes every check of every method."""
    pytest.importorskip("timm")
    row = examine(replace(timm_models.subject("test_resnet"), sides=(64,)), SETTINGS)
    assert row.failures() == []
    assert row.green


def test_costs_that_depend_on_the_data_are_no_failure() -> None:
    """A detector, whose boxes vary, passes where it is known to vary, and only there."""
    varying = replace(subject(detector), inputs=lambda n, side: (list(image(n, side)),), varying=True)
    row = examine(varying, SETTINGS)
    assert row.failures() == []
    assert row.green
    assert not examine(replace(varying, varying=False), SETTINGS).green


def test_nothing_to_convert_needs_a_proof() -> None:
    """Without wide convolutions "nothing to convert" is green; with one it is a failure that gives the reason."""
    assert {(cell.outcome, cell.green) for cell in examine(subject(narrow), SETTINGS).cells} == {("nothing", True)}
    row = examine(replace(subject(refused), inputs=lambda n, side: (image(n, side, 64),)), ONE)
    assert not row.green
    assert "nothing converted, though 2 wide convolutions exist; stem:" in row.failures()[0]


def test_what_a_build_raises_is_named() -> None:
    """A network that can't be built is a row with stage, class and first line."""
    row = examine(subject(broken), SETTINGS)
    assert row.failures() == ["build: ValueError: no such layer"]
    assert not row.green


def test_a_wrong_count_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the witness counts another number of parameters, the check that compares them fails."""
    assert examine(subject(wide), ONE).green
    monkeypatch.setattr(cells, "params", lambda model: 7)
    (cell,) = examine(subject(wide), ONE).cells
    assert cell.checks["counts"].state == "failed"
    assert "the witnesses" in cell.checks["counts"].why


def test_a_calibrated_conversion_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """On shaken weights the fit on data is nearer to the original; one that is not, or is not finite, is a failure."""
    assert examine(subject(wide), ONE).checks["calibrated"].state == "ok"
    monkeypatch.setattr(calibration, "SLACK", 0.0)
    worse = examine(subject(wide), ONE).checks["calibrated"]
    assert (worse.state, "fitted to the weights alone" in worse.why) == ("failed", True)
    monkeypatch.setattr(calibration, "finite", lambda found: False)
    assert examine(subject(wide), ONE).checks["calibrated"].state == "left out"
    assert examine(subject(narrow), ONE).checks["calibrated"].state == "left out"


def test_a_conversion_by_damage_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """On shaken weights it costs what was planned and is nearer than without inputs; what is not so is a failure."""
    assert examine(subject(wide), ONE).checks["planned"].state == "ok"
    monkeypatch.setattr(by_damage, "SLACK", 0.0)
    worse = examine(subject(wide), ONE).checks["planned"]
    assert (worse.state, "without inputs" in worse.why) == ("failed", True)
    monkeypatch.setattr(by_damage, "params", lambda model: 7)
    assert "the witness 7" in examine(subject(wide), ONE).checks["planned"].why
    monkeypatch.setattr(by_damage, "TARGET", "macs=0.01%")
    assert examine(subject(wide), ONE).checks["planned"].state == "left out"
