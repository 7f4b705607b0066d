from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.families.compconv.fit import telling
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.dgconv.unit import HardenedDGConv
from convsurgeon.families.family import Spec
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer import SiteData, fit
from tests.families.table import ROWS, SPECS
from tests.transfer.sites import distance, feature_maps, site_data

# With a form for 1×1 kernels, and without copies of inputs, which may lose more than all.
ON_ONE_PIXEL = [
    spec
    for spec in SPECS
    if isinstance(spec, IGCSpec) or (isinstance(spec, CompConvSpec) and not spec.identity_channels)
]


def conv16(bias: bool = True, **changes: object) -> nn.Conv2d:
    """16→16 3×3 with random weights."""
    return nn.Conv2d(16, 16, 3, padding=1, bias=bias, **changes)  # type: ignore[arg-type]


def parameters(module: nn.Module) -> torch.Tensor:
    """All parameters and buffers as one vector."""
    return torch.cat([tensor.flatten().double() for tensor in module.state_dict().values()])


@pytest.mark.parametrize(
    ("partitions", "secondary_groups", "mid"), [(1, 1, 16), (4, 1, 64), (4, 2, 64), (16, 1, 144), (8, 4, 128)]
)
@pytest.mark.parametrize("conv", [conv16(), conv16(stride=2), nn.Conv2d(16, 16, 1), conv16(padding_mode="reflect")])
def test_igc_with_full_rank_is_the_convolution(
    conv: nn.Conv2d, partitions: int, secondary_groups: int, mid: int
) -> None:
    """A unit whose mid width reaches every block's rank reproduces its convolution, with data and without."""
    x = feature_maps(24, 16)
    spec = IGCSpec(primary_groups=partitions, secondary_groups=secondary_groups, mid_channels=mid)
    for data in (site_data(conv, x), None):
        unit = spec.build(conv_shape(conv))
        fit(unit, conv, data)
        assert distance(unit, conv, x) < 1e-8


@settings(max_examples=15)
@given(
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 2), (5, 1)]),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    mode=st.sampled_from(["zeros", "replicate", "circular"]),
)
def test_igc_follows_every_spatial_setting(
    kernel: tuple[int, int], stride: int, dilation: int, padding: int, mode: str
) -> None:
    """Stride, dilation, padding, padding mode and even kernels are those of the convolution."""
    conv = nn.Conv2d(8, 8, kernel, stride, padding, dilation, padding_mode=mode)
    x = feature_maps(8, 8, size=12)
    unit = IGCSpec(primary_groups=2, secondary_groups=1, mid_channels=16).build(conv_shape(conv))
    result = fit(unit, conv, site_data(conv, x))
    assert distance(unit, conv, x) < 1e-8
    assert result.error == pytest.approx(0.0, abs=1e-8)


def test_dgconv_finds_a_hidden_grouping() -> None:
    """A convolution that is grouped under a permutation nobody told is reproduced."""
    conv = conv16()
    inside = (torch.randperm(16) // 4)[:, None] == (torch.randperm(16) // 4)[None, :]
    conv.weight.data *= inside[:, :, None, None]
    x = feature_maps(24, 16)
    for data in (site_data(conv, x), None):
        unit = DGConvSpec(groups=4).build(conv_shape(conv))
        fit(unit, conv, data)
        assert distance(unit, conv, x) < 1e-8


def test_open_gates_copy_the_weights() -> None:
    """With open gates the fit is the convolution, bit for bit."""
    conv = conv16()
    unit = DGConvSpec().build(conv_shape(conv))
    assert fit(unit, conv, None).error == 0.0
    assert torch.equal(unit.weight, conv.weight)  # type: ignore[arg-type]
    assert torch.equal(unit(feature_maps(2, 16)), conv(feature_maps(2, 16)))


def test_compconv_of_depth_1_finds_its_pairs_again() -> None:
    """A convolution whose outputs are a shuffled CompConv of depth 1 (with 1×1 tails) is reproduced."""
    conv = nn.Conv2d(16, 16, 1)
    with torch.no_grad():
        conv.weight[8:] = conv.weight[:8] * torch.linspace(-2, 2, 8)[:, None, None, None]
        order = torch.randperm(16)
        conv.weight.copy_(conv.weight[order])
    x = feature_maps(24, 16)
    unit = CompConvSpec(depth=1, primary_channels=8, tail_kernel=(1, 1)).build(conv_shape(conv))
    fit(unit, conv, site_data(conv, x))
    assert distance(unit, conv, x) < 1e-4


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
@pytest.mark.parametrize("images", [1, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_data_beats_the_weights_alone(spec: Spec, images: int, bias: bool) -> None:
    """On the inputs it was fitted on, a fit is never worse than the one that sees the weights only."""
    conv = conv16(bias)
    x = feature_maps(images, 16)
    blind, seeing = spec.build(conv_shape(conv)), spec.build(conv_shape(conv))
    fit(blind, conv, None)
    result = fit(seeing, conv, site_data(conv, x))
    assert distance(seeing, conv, x) <= distance(blind, conv, x)
    assert result.error == pytest.approx(distance(seeing, conv, x), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
def test_a_norm_behind_only_helps(spec: Spec) -> None:
    """Where a batch norm takes up means, a unit without bias comes nearer to its convolution."""
    conv = conv16(bias=False)
    x = feature_maps(40, 16)
    bare, helped = spec.build(conv_shape(conv)), spec.build(conv_shape(conv))
    fit(bare, conv, site_data(conv, x))
    result = fit(helped, conv, site_data(conv, x), norm_behind=True)
    assert result.error == pytest.approx(distance(helped, conv, x, result), rel=1e-3)
    assert distance(helped, conv, x, result) < distance(bare, conv, x)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
def test_batches_and_repetition_do_not_matter(spec: Spec) -> None:
    """The same images cut into other batches give the same parameters, and the same batches exactly the same."""
    conv = conv16()
    x = feature_maps(40, 16, size=16)
    units = [spec.build(conv_shape(conv)) for _ in range(3)]
    for unit, batch in zip(units, (40, 40, 7), strict=True):
        fit(unit, conv, site_data(conv, x, batch), seed=3)
    assert torch.equal(parameters(units[0]), parameters(units[1]))
    with torch.no_grad():
        y = units[0](x)
        assert float((units[2](x) - y).norm() / y.norm()) < 1e-3


@pytest.mark.parametrize("spec", ON_ONE_PIXEL, ids=lambda spec: spec.describe())
@pytest.mark.parametrize("spread", [1e-4, 1.0])
def test_one_pixel_maps_that_hardly_differ(spec: Spec, spread: float) -> None:
    """Behind a global pooling, where a mean drowns what differs between images, a unit errs by little."""
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, 1)
    x = torch.linspace(1, 3, 16)[:, None, None] + spread * torch.randn(8, 16, 1, 1)
    unit = spec.build(conv_shape(conv))
    fit(unit, conv, site_data(conv, x))
    with torch.no_grad():
        assert float((unit(x) - conv(x)).abs().max()) < 5 * spread


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
@pytest.mark.parametrize("awkward", ["dead inputs", "dead outputs", "one constant image", "twins"])
def test_awkward_statistics_give_finite_weights(spec: Spec, awkward: str) -> None:
    """Dead or twin channels and constant images give finite parameters; without copies, no more is lost than all."""
    conv = conv16()
    x = feature_maps(8, 16)
    if awkward == "dead inputs":
        x[:, 4:] = 0
    elif awkward == "dead outputs":
        conv.weight.data[4:] = 0
    elif awkward == "one constant image":
        x = torch.ones(1, 16, 10, 10)
    else:
        x[:, 8:] = x[:, :8]
    unit = spec.build(conv_shape(conv))
    result = fit(unit, conv, site_data(conv, x))
    assert parameters(unit).isfinite().all()
    assert result.error is not None
    copies = isinstance(spec, CompConvSpec) and spec.identity_channels > 0
    assert result.error < (math.inf if copies else 1.01)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_kept(spec: Spec, dtype: torch.dtype) -> None:
    """A half- or double-precision unit keeps its dtype and comes as near as in float32, but for rounding."""
    conv, x = conv16(), feature_maps(24, 16)
    plain = spec.build(conv_shape(conv))
    fit(plain, conv, site_data(conv, x))
    typed, other = conv16().to(dtype), spec.build(conv_shape(conv)).to(dtype)
    typed.load_state_dict(conv.state_dict())
    fit(other, typed, site_data(typed, x.to(dtype)))
    assert {parameter.dtype for parameter in other.parameters()} == {dtype}
    assert distance(other, typed, x.to(dtype)) < distance(plain, conv, x) + 0.05


def test_too_few_samples_are_said() -> None:
    """One small map for many unknowns is warned about; enough maps are not."""
    conv = conv16()
    unit = ROWS["igc"].specs[0].build(conv_shape(conv))
    few, enough = feature_maps(1, 16, size=6), feature_maps(20, 16, size=6)
    warning = fit(unit, conv, site_data(conv, few)).warning
    assert warning is not None
    assert "36 samples for 144 unknowns" in warning
    assert fit(unit, conv, site_data(conv, enough)).warning is None


def test_another_convolution_is_refused() -> None:
    """A unit is fitted to a convolution of its own shape only."""
    unit = ROWS["igc"].specs[0].build(conv_shape(conv16()))
    with pytest.raises(UsageError, match="build it from this convolution's shape"):
        fit(unit, conv16(stride=2), None)
    fit(unit, conv16(), None)


def test_other_modules_are_refused() -> None:
    """Only compact convolutions can be fitted."""
    conv = conv16()
    with pytest.raises(UsageError, match="a Linear can't be fitted"):
        fit(nn.Linear(1, 1), conv, None)
    fit(HardenedDGConv(conv_shape(conv), DGConvSpec(groups=2)), conv, None)


def test_no_data_is_refused() -> None:
    """Site data holds at least one position."""
    with pytest.raises(UsageError, match="is empty"):
        SiteData.of([])
    assert SiteData.of([(torch.ones(1, 1, 2, 2), torch.ones(1, 3, 2, 2))]).positions == 4


def test_what_is_explained_already_is_not_chosen() -> None:
    """Of variables that come in twins, one of each is chosen, down to powers of a ten-thousandth."""
    scales = torch.logspace(0, -2, 32, dtype=torch.float64)
    mixed = torch.randn(32, 64, generator=torch.Generator().manual_seed(0)).double() * scales[:, None]
    twins = torch.cat([mixed, mixed])
    chosen = telling(twins @ twins.T, 32)
    assert sorted((chosen % 32).tolist()) == list(range(32))
