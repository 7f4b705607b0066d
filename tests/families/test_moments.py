from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convsurgeon.families.regression.gathering import collect
from convsurgeon.families.regression.moments import MomentSum
from convsurgeon.families.regression.patches import patches_at
from convsurgeon.families.regression.samples import SiteData, sample_cap
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer.fit import linear_of
from tests.transfer.sites import feature_maps, site_data


@settings(max_examples=25)
@given(
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 3), (5, 1)]),
    stride=st.sampled_from([(1, 1), (2, 1), (3, 2)]),
    dilation=st.sampled_from([(1, 1), (2, 1)]),
    padding=st.sampled_from([0, 1, (2, 0), "valid", "same"]),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)
def test_patches_times_weights_are_the_convolution(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: object, mode: str
) -> None:
    """At every output position the patch times the weight matrix is what the convolution writes there."""
    stride = (1, 1) if padding == "same" else stride
    conv = nn.Conv2d(3, 4, kernel, stride, padding, dilation, padding_mode=mode).double()  # type: ignore[arg-type]
    x = torch.randn(2, 3, 9, 8).double()
    y = conv(x)
    chosen = torch.randperm(y.numel() // 4)
    linear = linear_of(conv)
    found = patches_at(x, conv_shape(conv), chosen) @ linear.weight.T + linear.bias
    assert torch.allclose(found, y.movedim(1, -1).reshape(-1, 4)[chosen])


def test_a_grouped_weight_is_spread_out() -> None:
    """A grouped convolution's matrix has zeros between its groups."""
    conv = nn.Conv2d(4, 6, 3, groups=2).double()
    x = torch.randn(2, 4, 5, 5).double()
    linear = linear_of(conv)
    found = linear.weight @ F.unfold(x, 3) + linear.bias[:, None]
    assert torch.allclose(found.view(2, 6, 3, 3), conv(x))


@pytest.mark.parametrize("centred", [True, False])
def test_moments_are_those_of_all_samples(centred: bool) -> None:
    """Sums fed in pieces give the covariances (or raw moments) of the whole, and the error of any map."""
    u, y = torch.randn(500, 6).double() + 1, torch.randn(500, 4).double()
    conv = nn.Conv2d(6, 4, 1).double()
    linear = linear_of(conv)
    sums = MomentSum(linear)
    for start, stop in ((0, 10), (10, 300), (300, 500)):
        sums.add(u[start:stop], y[start:stop])
    moments = sums.moments(centred=centred)
    own_u, own_y = (u - u.mean(0), y - y.mean(0)) if centred else (u, y - linear.bias)
    assert torch.allclose(moments.uu, own_u.T @ own_u / 500)
    other = torch.randn(4, 6).double()
    assert torch.allclose(moments.errors(linear.weight - other), (own_y - own_u @ other.T).square().mean(0))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("spread", [1e-4, 1.0])
def test_moments_of_inputs_that_hardly_differ(spread: float, centred: bool) -> None:
    """In float32, on top of a mean that is thousands of times larger, covariances are still those of the samples."""
    u, y = (3 + spread * torch.randn(500, n) for n in (6, 4))
    conv = nn.Conv2d(6, 4, 1)
    sums, exact = MomentSum(linear_of(conv)), MomentSum(linear_of(conv))
    for part in (slice(0, 10), slice(10, 500)):
        sums.add(u[part], y[part])
        exact.add(u[part].double(), y[part].double())
    found, wanted = sums.moments(centred=centred), exact.moments(centred=centred)
    own = u.double() - (u.double().mean(0) if centred else 0)
    torch.testing.assert_close(wanted.uu, own.T @ own / 500, rtol=1e-6, atol=1e-12)
    for name in ("mean_u", "mean_y", "mean_e", "uu", "eu", "ee", "yy"):
        size = float(getattr(wanted, name).abs().max())
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=1e-3 * size)


def test_positions_are_drawn_up_to_what_the_unknowns_need() -> None:
    """A large map is subsampled to about the cap, by the seed and not by the batches; a small one is taken whole."""
    conv = nn.Conv2d(2, 2, 1)
    large, small = feature_maps(12, 2, size=60), feature_maps(12, 2, size=6)
    counts = {}
    for name, x, batch, seed in (("a", large, 12, 0), ("b", large, 5, 0), ("c", large, 12, 1), ("small", small, 4, 0)):
        collected = collect(site_data(conv, x, batch).samples(2, seed), conv_shape(conv), linear_of(conv))
        counts[name] = (collected.fitted.count, float(collected.fitted.moments().uu.sum()))
    assert counts["a"][0] == pytest.approx(sample_cap(2), rel=0.05)
    assert counts["a"] == pytest.approx(counts["b"])
    assert counts["a"] != counts["c"]
    assert counts["small"][0] == 12 * 36


def test_every_fifth_image_is_held_out() -> None:
    """Held-out positions come from images that no position to fit on comes from; with four images none is."""
    conv = nn.Conv2d(1, 1, 1)
    x = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 1, 4, 4).contiguous()
    collected = collect(site_data(conv, x, 3).samples(1, 0, held_out=True), conv_shape(conv), linear_of(conv))
    assert sorted({int(value) for value in collected.held_u[:, 0]}) == [4, 9]
    assert collected.fitted.count == 8 * 16
    few = collect(site_data(conv, x[:4], 4).samples(1, 0, held_out=True), conv_shape(conv), linear_of(conv))
    assert len(few.held_u) == 0
    assert few.fitted.count == 4 * 16


@pytest.mark.parametrize(("budget", "passes"), [(10**9, 1), (10, 3)])
def test_passes_are_kept_within_the_budget(budget: int, passes: int) -> None:
    """Samples that fit into the budget are read from the source once; larger ones anew every time."""
    conv, x = nn.Conv2d(2, 2, 1), feature_maps(4, 2)
    started = 0
    pairs = [(x, conv(x).detach())]

    def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
        nonlocal started
        started += 1
        return pairs

    samples = SiteData(batches, 4, 400).samples(2, 0).within(budget)
    for _ in range(3):
        assert sum(len(sample.chosen) for sample in samples) == 400
    assert started == passes
