"""What a network uses up of a floor: nothing if it changes nothing, all of it where its bound is the limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsurgeon.conversion.judge import Judgement
from convsurgeon.conversion.to_floor.verdicts import Court
from convsurgeon.planning.floors import parse_floors

FEW = 700


def _judgement(agreed: int = FEW, lost: int = 0, gained: int = 0) -> Judgement:
    """Of an original that has a hundred of its labelled inputs wrong."""
    right = (FEW - 100, FEW - 100 - lost + gained)
    return Judgement(
        FEW, agreed, np.zeros(FEW), np.ones(FEW), classes=10, labelled=FEW, right=right, gained=gained, lost=lost
    )


def _court(floor: str) -> Court:
    original = replace(_judgement(), right=(FEW - 100, FEW - 100))
    return Court(parse_floors(floor), original, nn.Identity())


@pytest.mark.parametrize(
    "floor", ["agreement=99%", "agreement=90%", "top1=-1", "top1=-5", "top1=80%", "output-error=1%"]
)
def test_a_network_that_changes_nothing_uses_nothing(floor: str) -> None:
    """However few inputs judge, and however near their bound is to the floor."""
    (verdict,) = _court(floor).verdicts(_judgement(), nn.Identity())
    assert verdict.kept
    assert verdict.strain == pytest.approx(0, abs=1e-9)


@given(st.sampled_from(["agreement=97%", "top1=-3", "top1=82%"]), st.integers(0, 60))
def test_a_floor_is_kept_as_far_as_its_bound_reaches(floor: str, lost: int) -> None:
    """Up to a strain of 1, and no further, the bound is at the limit or above."""
    court = _court(floor)
    (verdict,) = court.verdicts(_judgement(FEW - lost, lost), nn.Identity())
    assert verdict.bound is not None
    assert verdict.kept == (verdict.bound >= court.floors[0].limit)
