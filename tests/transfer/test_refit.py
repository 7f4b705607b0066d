"""Layers that lost inputs, fitted anew."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convsurgeon.families.regression.samples import SiteData
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer.refit import refit
from convsurgeon.transfer.subjects import Subject
from tests.transfer.sites import drifted


@pytest.mark.parametrize("biased", [True, False])
def test_what_a_lost_input_gave_on_average_is_made_up_for(biased: bool) -> None:
    """The layer's own bias takes the mean of what is gone, or the norm behind it is told of it; weights the rest."""
    torch.manual_seed(0)
    whole = nn.Conv2d(2, 3, 1, bias=biased)
    first = torch.randn(64, 1, 6, 6)
    x = torch.cat([first, 5 + 2 * first + 0.01 * torch.randn(64, 1, 6, 6)], dim=1)
    y = whole(x).detach()
    conv = nn.Conv2d(1, 3, 1, bias=biased)
    with torch.no_grad():
        conv.weight.copy_(whole.weight[:, :1])
        if conv.bias is not None and whole.bias is not None:
            conv.bias.copy_(whole.bias)
    subject = Subject("conv", conv_shape(conv), conv, conv, None, True)
    samples = SiteData.of([(first, y)]).samples(1, 0)
    found = refit(subject, samples, norm_behind=not biased)
    shift = 0 if found.shift is None else found.shift.float()[:, None, None]
    assert (found.shift is None) is biased
    assert found.error is not None
    assert found.error < 1e-3
    torch.testing.assert_close(conv(first) + shift, y, rtol=0.01, atol=0.1)


def test_few_images_that_are_held_out_tell_how_far_the_others_can_be_trusted() -> None:
    """Errors of earlier layers are an image's own: all its positions repeat them, and least squares learns them."""
    torch.manual_seed(0)
    whole = nn.Conv2d(24, 4, 1)
    data, (fresh, wanted) = SiteData.of([drifted(whole, 30, 24)]), drifted(whole, 500, 24)
    errors = []
    for held_out in (True, False):
        conv = copy.deepcopy(whole)
        subject = Subject("conv", conv_shape(conv), conv, conv, None, True)
        refit(subject, data.samples(24, 0, held_out=held_out), norm_behind=False)
        errors.append(float((conv(fresh).detach() - wanted).square().mean()))
    assert errors[0] < 0.7 * errors[1]
