"""Too few calibration inputs are refused before damage is measured, and only where they are what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.errors import TargetError
from convsurgeon.transfer.measurement import Measurement


class Late(nn.Module):
    """Nearly all MACs are where maps are small: [N, 3, 16, 16] → [N, 64, 2, 2]; ``wide`` runs on single inputs only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.late = nn.Conv2d(16, 64, 3, stride=8, padding=1)
        self.last = nn.Conv2d(64, 64, 3, padding=1)
        self.wide = nn.Conv2d(64, 128, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        y = self.last(self.late(self.first(x).relu()).relu()).relu()
        return self.wide(y) if len(x) == 1 else y


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept between tests."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))


def plan(images: int, *, skip: tuple[str, ...] = ("wide",), target: str = "macs=70%") -> convsurgeon.Plan:
    """With so many calibration inputs."""
    x = torch.randn(images, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    rules = convsurgeon.Rules(skip=skip, stem=True)
    return convsurgeon.plan(Late(), x[:1], method="igc", target=target, rules=rules, calibration=[x])


def test_a_target_out_of_reach_of_few_inputs_is_refused_before_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says how many inputs are given and needed, and nothing was measured; with those needed it plans."""
    x = torch.randn(1, 3, 16, 16)
    macs = {row.name: row.before.macs for row in convsurgeon.plan(Late(), x, method="igc").layers}
    assert macs["wide"] == 2 * macs["last"]

    def measured(*_: object) -> None:
        raise AssertionError("measured")

    with monkeypatch.context() as patched:
        patched.setattr(Measurement, "run", measured)
        for given in (16, 181):
            with pytest.raises(TargetError) as refused:
                plan(given)
            message = str(refused.value)
            assert f"{given} are given, from which damage can't be told at 2 of 3 layers" in message
            assert "182 would be enough for every layer; 'late' needs most, since it writes 4 positions" in message
    assert plan(182).objective.startswith("measured")


def test_a_target_within_reach_of_the_layers_that_can_be_told_is_planned() -> None:
    """Few inputs are no reason to refuse what the other layers reach by themselves."""
    done = plan(16, target="macs=98%")
    assert [row.name for row in done.replaced] == ["first"]
    assert done.objective.startswith("measured")


def test_a_target_that_no_number_of_inputs_reaches_is_refused_for_what_it_is() -> None:
    """With few inputs and with enough, the same target is out of reach, and inputs are not blamed."""
    for images in (16, 182):
        with pytest.raises(TargetError, match="can't be reached by"):
            plan(images, target="macs=5%")


def test_layers_that_no_input_reaches_are_not_short_of_inputs() -> None:
    """A layer that runs on none of the calibration inputs can't be helped by more of them."""
    with pytest.raises(TargetError, match="can't be reached by"):
        plan(182, skip=(), target="macs=40%")


def test_a_target_out_of_reach_of_all_candidates_is_refused_before_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many inputs there are; one within reach is measured."""

    def measured(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(Measurement, "run", measured)
    with pytest.raises(TargetError, match=r"macs=1% can't be reached by \d eligible .* Reachable: macs from"):
        plan(256, target="macs=1%")
    with pytest.raises(AssertionError, match="measured"):
        plan(256, target="macs=70%")
