"""Inputs to judge on: none that was fitted on, none twice, labels kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.unseen import Unseen
from convsurgeon.models.origin import WeightsOrigin
from tests.conversion.floor_nets import inputs, labelled, small_net


def _patient() -> Patient:
    return Patient.admit(small_net(), as_inputs(torch.zeros(1, 3, 8, 8)), WeightsOrigin("caller", "a test's"))


def test_what_is_fitted_on_and_what_came_before_is_left_out() -> None:
    """Of folders that overlap, each image is there once, with its label if it has one, and no fitted one at all."""
    patient = _patient()
    fitted, other = inputs(64, 0), inputs(32, 1)
    data = Data(
        calibration=fitted, judging=lambda: [*fitted, *other, *other], evaluation=labelled(patient.model, other)
    )
    batches = list(Unseen(patient, data))
    seen = torch.cat([batch.inputs.args[0] for batch in batches])
    # Every eighth is held back.
    held = torch.cat(fitted)[7::8]
    assert torch.equal(seen, torch.cat([*other, held]))
    assert [batch.labels is not None for batch in batches] == [True, False, False]


class _Shuffled:
    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self) -> Iterator[Tensor]:
        images = torch.cat(self.batches)
        return iter(images[torch.randperm(len(images), generator=self.generator)].split(32))


class _Steady(_Shuffled):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


def test_a_shuffled_loader_is_refused() -> None:
    """Its held-back inputs would be fitted on in the next pass; the same loader in a fixed order is taken."""
    with pytest.raises(UsageError, match="shuffle=False"):
        Unseen(_patient(), Data(calibration=_Shuffled(inputs(64, 0))))
    assert list(Unseen(_patient(), Data(calibration=_Steady(inputs(64, 0)))))


def test_a_single_tensor_to_judge_on_is_refused() -> None:
    """Its parts would be taken for batches; a list of it is taken."""
    images = torch.rand(4, 3, 8, 8)
    with pytest.raises(UsageError, match="judging is a Tensor; expected an iterable"):
        Data.of(None, images, None)
    assert Data.of(None, [images], None).judging is not None
