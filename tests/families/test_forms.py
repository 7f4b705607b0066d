"""Every form of every unit computes what the unit computes, whatever was absorbed into it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from convsurgeon import CompConvSpec, ConvShape, DGConvSpec, IGCSpec
from convsurgeon.deployment.lowering.forms import forms_of
from convsurgeon.deployment.lowering.layout import laid_out
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.pieces import Gather, Onto
from convsurgeon.families.spatial.spec import SpatialSpec
from convsurgeon.families.tucker.spec import TuckerSpec
from convsurgeon.families.unit import CompactConv
from tests.families.plainly import shape


def _specs() -> dict[str, tuple[ConvShape, object]]:
    cases: dict[str, tuple[ConvShape, object]] = {}
    for kernel in (1, 3):
        for stride in (1, 2):
            for bias in (False, True):
                like = shape(32, 41, kernel, stride=stride, bias=bias, padding=kernel // 2)
                for depth in (1, 2, 3):
                    spec = CompConvSpec.of(like, depth)
                    cases[f"compconv d{depth} {kernel}x{kernel} s{stride} bias={bias}"] = (like, spec)
    for bias in (False, True):
        even = shape(32, 28, 3, bias=bias, padding=1)
        cases[f"compconv without surplus bias={bias}"] = (even, CompConvSpec.of(even, 1))
        pointwise = shape(32, 28, 1, bias=bias, padding=0)
        cases[f"compconv 1x1 without surplus bias={bias}"] = (pointwise, CompConvSpec.of(pointwise, 1))
        for groups, partitions in ((1, 1), (4, 1), (8, 1), (1, 2), (4, 2), (16, 2)):
            like = shape(32, 28, 3, stride=2, bias=bias, padding=1)
            spec = IGCSpec(primary_groups=groups, secondary_groups=partitions, mid_channels=64)
            cases[f"igc l{groups}m{partitions} bias={bias}"] = (like, spec)
        narrow = IGCSpec(primary_groups=2, secondary_groups=1, mid_channels=12)
        cases[f"igc l2m1 w12 bias={bias}"] = (shape(32, 28, 3, bias=bias, padding=1), narrow)
        thin = IGCSpec(primary_groups=16, secondary_groups=1, mid_channels=16)
        cases[f"igc l16m1 w16 bias={bias}"] = (shape(32, 28, 3, bias=bias, padding=1), thin)
        like = shape(32, 48, 3, bias=bias, padding=1)
        cases[f"dgconv bias={bias}"] = (like, DGConvSpec(groups=4))
        for stride in (1, 2):
            like = shape(32, 28, 3, stride=stride, bias=bias, padding=1)
            cases[f"spatial s{stride} bias={bias}"] = (like, SpatialSpec(mid_channels=12, stretch=(stride, 1)))
            across = SpatialSpec(mid_channels=12, first="horizontal", stretch=(stride, 1))
            cases[f"spatial across s{stride} bias={bias}"] = (like, across)
            cases[f"tucker s{stride} bias={bias}"] = (like, TuckerSpec(in_rank=12, out_rank=8))
    dilated = shape(32, 28, 3, dilation=2, padding=2)
    cases["compconv dilated"] = (dilated, CompConvSpec.of(dilated, 2))
    unpadded = shape(32, 28, 3, padding=0)
    cases["compconv unpadded"] = (unpadded, CompConvSpec.of(unpadded, 2))
    return cases


CASES = _specs()


def _unit(case: str) -> CompactConv:
    """A unit whose every order and bias was moved away from where it starts."""
    like, spec = CASES[case]
    torch.manual_seed(0)
    unit = spec.build(like).double()
    for name in ("output_order", "input_order"):
        if hasattr(unit, name):
            getattr(unit, name).copy_(torch.randperm(len(getattr(unit, name))))
    if getattr(unit, "identity_index", None) is not None:
        unit.identity_index.copy_(torch.randperm(like.in_channels)[: len(unit.identity_index)])
    for module in unit.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)
    return unit.eval()


def _absorbing(unit: CompactConv) -> Absorbed:
    nothing = Absorbed.nothing(unit)
    scaled = nothing.then(torch.rand(unit.out_channels) + 0.5, torch.randn(unit.out_channels))
    return scaled.writing(torch.randperm(unit.out_channels)).reading(torch.randperm(unit.in_channels))


def _same(module: nn.Module, expected: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(module.double()(x), expected(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_every_form_equals_its_unit(case: str) -> None:
    """With or without absorbed orders, scale and shift, each form gives the unit's outputs."""
    unit = _unit(case)
    x = torch.randn(2, unit.in_channels, 9, 8, dtype=torch.float64)
    for absorbed in (Absorbed.nothing(unit), _absorbing(unit)):
        forms = forms_of(absorbed)
        assert len({form.name for form in forms}) == len(forms)
        for form in forms:
            _same(form.realise(absorbed), absorbed, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
def test_every_form_keeps_its_layout_and_adds_onto_a_shortcut(case: str, layout: torch.memory_format) -> None:
    """In both memory formats each form gives the unit's outputs; put onto a tensor, it writes the sum there."""
    unit = _unit(case)
    x = torch.randn(2, unit.in_channels, 9, 8, dtype=torch.float64).contiguous(memory_format=layout)
    for absorbed in (Absorbed.nothing(unit), _absorbing(unit)):
        for form in forms_of(absorbed):
            module = laid_out(form.realise(absorbed).double(), layout)
            with torch.no_grad():
                expected, found = absorbed(x), module(x)
                assert found.is_contiguous(memory_format=layout) or form.name == "the unit as it is"
                torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
                shortcut = torch.randn_like(found).contiguous(memory_format=layout)
                total, memory = shortcut + expected, shortcut.data_ptr()
                onto = Onto(module)(shortcut, x)
            assert onto.data_ptr() == memory
            torch.testing.assert_close(onto, total, rtol=1e-9, atol=1e-9)


def test_a_few_channels_are_gathered_without_copying_the_rest() -> None:
    """Channels last, a gather of two channels takes memory for two, in either of its two steps, and not for all."""
    gather = laid_out(Gather(torch.tensor([5, 1])), torch.channels_last)
    x = torch.randn(1, 512, 16, 16).contiguous(memory_format=torch.channels_last)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        y = gather(x)
    assert torch.equal(y, x[:, [5, 1]])
    largest = max(event.self_cpu_memory_usage for event in seen.key_averages())
    assert 0 < largest <= 4 * y.numel() * y.element_size()


@pytest.mark.parametrize("case", [name for name in CASES if "1x1" in name and "s1" in name])
def test_a_tail_never_follows_a_vanishing_scale(case: str) -> None:
    """Where a norm's weight is zero, no form divides by it."""
    unit = _unit(case)
    absorbed = Absorbed.nothing(unit).then(torch.zeros(unit.out_channels), torch.randn(unit.out_channels))
    x = torch.randn(2, unit.in_channels, 5, 5, dtype=torch.float64)
    for form in forms_of(absorbed):
        _same(form.realise(absorbed), absorbed, x)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("compconv d1 3x3 s1 bias=False", "a depthwise tail with multiplier 2"),
        ("compconv d2 1x1 s1 bias=False", "two 1×1 convolutions"),
        ("compconv 1x1 without surplus bias=True", "a 1×1 convolution, then each channel twice"),
        ("igc l4m1 bias=False", "one dense convolution"),
        ("igc l2m1 w12 bias=False", "two convolutions, whole blocks"),
        ("dgconv bias=True", "a convolution in 4 groups"),
        ("spatial s1 bias=True", "two convolutions"),
        ("tucker s1 bias=True", "two convolutions, the last dense"),
    ],
)
def test_forms_are_known_by_name(case: str, name: str) -> None:
    """The forms that the documentation names exist."""
    assert name in {form.name for form in forms_of(Absorbed.nothing(_unit(case)))}


def test_blocks_stay_below_the_dense_convolution() -> None:
    """Sixteen groups of one channel each get no form of 256 channels, two groups of six get one of 32."""
    names = {form.name for form in forms_of(Absorbed.nothing(_unit("igc l16m1 w16 bias=False")))}
    assert "two convolutions" in names
    assert "two convolutions, whole blocks" not in names


def test_copies_off_the_grid_are_left_as_they_are() -> None:
    """A CompConv whose copies are no plain subsample of the input keeps its own forward; its padded twin does not."""
    (only,) = forms_of(Absorbed.nothing(_unit("compconv unpadded")))
    assert only.name == "the unit as it is"
    assert all(form.name != only.name for form in forms_of(Absorbed.nothing(_unit("compconv d2 3x3 s1 bias=False"))))
