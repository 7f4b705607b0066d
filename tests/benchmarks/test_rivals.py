"""The rivals are what they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsurgeon
from benchmarks.rivals import _low_rank, _spatial, _tucker2, low_rank, spatial_svd, tucker2
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count

X = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factors", [_spatial, _tucker2, _low_rank])
@pytest.mark.parametrize("settings", [{"padding": 1}, {"stride": 2}, {"padding": 6, "dilation": 2}, {"bias": False}])
def test_at_full_rank_the_factors_compute_what_the_convolution_did(factors, settings: dict[str, int]) -> None:  # type: ignore[no-untyped-def]
    """Strided, padded and dilated ones too."""
    conv = nn.Conv2d(4, 8, 3, **settings)
    torch.testing.assert_close(factors(conv)(1.0)(X), conv(X), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rival", [spatial_svd, tucker2, low_rank])
def test_a_rival_keeps_at_most_the_share(rival) -> None:  # type: ignore[no-untyped-def]
    """And says so where no rank does."""
    net = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3)).eval()
    smaller = rival(net, X, 0.5)
    assert count(smaller, as_inputs(X)).macs <= 0.5 * count(net, as_inputs(X)).macs
    with pytest.raises(convsurgeon.UsageError, match="no share"):
        rival(net, X, 0.01)
