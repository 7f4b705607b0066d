"""Refinement by gradient after a closed-form fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.regression.assessment import assess
from convsurgeon.families.regression.samples import Samples
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer import FitResult, SiteData
from convsurgeon.transfer.fit import fit_samples
from convsurgeon.transfer.image_count import images_needed
from convsurgeon.transfer.refine import refine


@pytest.fixture
def fitted() -> tuple[nn.Module, Samples, FitResult]:
    """A CompConv of two stages, fitted to a convolution whose outputs depend on one another."""
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 32, 3, padding=1)
    x = torch.randn(24, 32, 6, 6).cumsum(2)
    with torch.no_grad():
        samples = SiteData.of([(part, conv(part)) for part in x.split(8)]).samples(288, seed=0)
    module = CompConvSpec.of(conv_shape(conv), 2).build(conv_shape(conv))
    return module, samples, fit_samples(module, conv, samples, seed=0, norm_behind=False)


def test_steps_lower_the_error_that_is_reported(fitted: tuple[nn.Module, Samples, FitResult]) -> None:
    """After some steps the module is nearer to the convolution, by as much as the result says."""
    module, samples, before = fitted
    after = refine(module, samples, before, steps=60)
    assert before.error is not None
    assert after.error is not None
    assert after.error < 0.98 * before.error
    with torch.no_grad():
        assert assess(module, samples.single()).relative_error() == pytest.approx(after.error, rel=1e-4)


def test_steps_that_lead_astray_are_taken_back(
    fitted: tuple[nn.Module, Samples, FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate that diverges the fit stays as it was."""
    module, samples, before = fitted
    kept = copy.deepcopy(module.state_dict())
    monkeypatch.setattr("convsurgeon.transfer.refine.RATE", 50.0)
    assert refine(module, samples, before, steps=3) == before
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, kept[name])


def test_a_conversion_can_be_refined() -> None:
    """With ``refine`` a calibrated conversion agrees better with its original on the images it was fitted on."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(1152, 4)
    )
    batches = [torch.randn(7, 3, 8, 8) for _ in range(4)]
    errors = []
    for steps in (0, 80):
        done = convsurgeon.convert(net, batches[0], method="compconv128", calibration=batches, refine=steps)
        fitted = batches[0], net(batches[0])
        errors.append(float((done.model(fitted[0]) - fitted[1]).detach().square().sum()))
        assert ("gradient steps" in done.report.inherited) is (steps > 0)
    assert errors[1] < errors[0]


def test_the_number_of_images_follows_from_the_unknowns() -> None:
    """Two samples per unknown and fitted position; images held back for judging come on top."""
    net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, stride=2))
    # The second convolution has 64·9 unknowns and 2·2 positions; 7/8 · 4/5 of the images are fitted on.
    assert images_needed(convsurgeon.inspect(net, torch.randn(1, 3, 4, 4)), 1) == -(-2 * 576 * 10 // (4 * 7))
    assert images_needed(convsurgeon.inspect(net, torch.randn(2, 3, 4, 4)), 2) == -(-2 * 576 * 10 // (4 * 7))
    assert images_needed(convsurgeon.inspect(net, torch.randn(1, 3, 64, 64)), 1) == 64
    assert images_needed(convsurgeon.inspect(net, torch.randn(1, 3, 2, 2)), 1) == 1646
