"""The judge counts what anybody would count by hand, and runs the original once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import silent
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.judge import Judge
from convsurgeon.conversion.patient import Patient
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.transfer.agreement import agreement
from tests.conversion.floor_nets import inputs, labelled, small_net


def _shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter) * parameter.std()
    return net


def test_a_judgement_is_what_is_counted_by_hand() -> None:
    """Agreement, output error, and the answers gained and lost are those of plain forwards of both networks."""
    net, other = small_net(), _shaken(small_net())
    patient = Patient.admit(net, as_inputs(torch.zeros(1, 3, 8, 8)), WeightsOrigin("caller", "a test's"))
    images = inputs(96, 1)
    torch.manual_seed(2)
    batches = [(x, torch.where(torch.rand(len(x)) < 0.8, y, (y + 1) % 4)) for x, y in labelled(net, images)]
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    judge = Judge(patient, Data(calibration=inputs(7, 0), evaluation=batches), silent)
    before = len(calls)
    found = judge.judged(other)
    assert len(calls) == before
    with torch.no_grad():
        plain = agreement(small_net(), other, map(as_inputs, images), held_back=True)
        x, labels = torch.cat(images), torch.cat([y for _, y in batches])
        right = [net(x).argmax(1) == labels, other(x).argmax(1) == labels]
    assert (found.inputs, found.labelled) == (96, 96)
    assert found.agreed == round((plain.top1 or 0) * 96) < 96
    assert found.output_error == pytest.approx(plain.output_error, rel=1e-4)
    assert found.right == (int(right[0].sum()), int(right[1].sum()))
    assert (found.gained, found.lost) == (int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum()))
    assert judge.original.agreed == 96
    assert judge.original.output_error == 0


def test_outputs_that_are_no_classes_are_judged_by_their_error_alone() -> None:
    """Maps have an error, and neither agreement nor accuracy."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    patient = Patient.admit(net, as_inputs(torch.zeros(1, 3, 8, 8)), WeightsOrigin("caller", "a test's"))
    judge = Judge(patient, Data(calibration=inputs(16, 0)), silent)
    assert judge.original.agreed is None
    assert judge.judged(_shaken(net)).output_error
