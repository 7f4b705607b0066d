"""Convolutions over one, two and three axes, in groups or not: replaced exactly where the capacity is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convsurgeon import ConvShape, DGConvSpec, IGCSpec, convert, inspect, load
from convsurgeon.families import parse_method
from convsurgeon.families.dgconv.unit import HardenedDGConv
from convsurgeon.families.family import Refusal
from convsurgeon.families.igc.unit import IGC
from convsurgeon.families.torch_convs import conv_shape, plain_conv
from convsurgeon.surgery.operate import replacement
from convsurgeon.transfer import SiteData, fit
from tests.nets import outside_macs


@st.composite
def _shapes(draw: st.DrawFn) -> ConvShape:
    """Few channels over 1–3 axes, any stride, dilation, padding (uneven and dynamic ones too) and groups."""
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    each = st.tuples(*[st.integers(1, 2)] * axes)
    pairs = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * axes)
    stride = draw(each)
    padding = draw(st.one_of(st.tuples(*[st.integers(0, 2)] * axes), pairs, st.sampled_from(["same", "dynamic"])))
    assume(padding != "same" or set(stride) == {1})
    return ConvShape(
        in_channels=groups * draw(st.sampled_from([2, 4])),
        out_channels=groups * draw(st.sampled_from([2, 4, 6])),
        kernel=draw(st.tuples(*[st.integers(1, 3)] * axes)),
        stride=stride,
        padding=padding,
        dilation=draw(each),
        groups=groups,
        padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])),
        bias=draw(st.booleans()),
    )


@settings(max_examples=120)
@given(_shapes(), st.integers(0, 2), st.booleans(), st.sampled_from(["igc", "dgconv"]))
def test_a_unit_with_all_capacity_is_the_convolution(shape: ConvShape, more: int, seen: bool, family: str) -> None:
    """Fitted to the weights or to data, a unit that can hold everything differs by at most 1e-4; its price is right."""
    conv = plain_conv(shape)
    x = torch.randn(2, shape.in_channels, *(6 + more + i for i in range(len(shape.kernel))))
    groups = shape.groups
    spec = (
        IGCSpec(primary_groups=groups, secondary_groups=groups, mid_channels=shape.out_channels)
        if family == "igc"
        else DGConvSpec(groups=groups)
    )
    module = replacement(conv, spec)
    with torch.no_grad():
        y = conv(x)
        fit(module, conv, SiteData.of([(x, y)]) if seen else None)
        counter = FlopCounterMode(display=False)
        with counter:
            found = module(x)
    torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)
    cost = spec.cost(shape, 2 * y[0, 0].numel())
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())


@settings(max_examples=120)
@given(_shapes(), st.sampled_from(["igc", "igc-l2m2", "compconv", "dgconv", "auto"]), st.data())
def test_shapes_and_prices_hold_on_every_axis(shape: ConvShape, method: str, data: st.DataObject) -> None:
    """Any proposed unit has the convolution's output shape, and costs what its spec says; else there is a reason."""
    with torch.device("meta"):
        conv = plain_conv(shape)
        x = torch.empty(2, shape.in_channels, *(7 + i for i in range(len(shape.kernel))))
    y = conv(x)
    specs = parse_method(method).under_target().specs(shape, tuple(y.shape[2:]))
    if isinstance(specs, Refusal):
        assert len(specs.reason) > 10
        return
    assert ConvShape.model_validate_json(shape.model_dump_json()) == shape
    spec = data.draw(st.sampled_from(specs))
    module = replacement(conv, spec)
    counter = FlopCounterMode(display=False)
    with counter:
        assert module(x).shape == y.shape
    cost = spec.cost(shape, 2 * y[0, 0].numel())
    assert (cost.macs, cost.params) == (
        counter.get_total_flops() // 2,
        sum(parameter.numel() for parameter in module.parameters()),
    )


def test_groups_are_units_side_by_side() -> None:
    """The unit of a grouped convolution lets no channel of one group reach another group, for any L and M."""
    conv = nn.Conv2d(24, 24, 3, padding=1, groups=3)
    for spec in (
        IGCSpec(primary_groups=6, secondary_groups=6, mid_channels=24),
        IGCSpec(primary_groups=12, secondary_groups=3, mid_channels=24),
        DGConvSpec(groups=6),
    ):
        module = replacement(conv, spec)
        fit(module, conv, None)
        x = torch.randn(1, 24, 5, 5)
        other = x.clone()
        other[:, :8] += 1
        with torch.no_grad():
            changed = (module(x) != module(other)).flatten(2).any(2)[0]
        assert not changed[8:].any()
        assert changed[:8].all() or isinstance(module, HardenedDGConv)


def test_groups_are_fitted_as_if_each_stood_alone() -> None:
    """The unit of a grouped convolution equals its groups' own units, fitted to their shares of the same data."""
    conv = nn.Conv2d(16, 16, 3, padding=1, groups=2)
    x = torch.randn(8, 16, 6, 6)
    whole = replacement(conv, IGCSpec(primary_groups=4, secondary_groups=2, mid_channels=16))
    with torch.no_grad():
        fit(whole, conv, SiteData.of([(x, conv(x))]))
        for group in range(2):
            part = slice(8 * group, 8 * group + 8)
            alone = nn.Conv2d(8, 8, 3, padding=1)
            alone.weight.copy_(conv.weight[part])
            alone.bias.copy_(conv.bias[part])
            unit = replacement(alone, IGCSpec(primary_groups=2, secondary_groups=1, mid_channels=8))
            fit(unit, alone, SiteData.of([(x[:, part], alone(x[:, part]))]))
            torch.testing.assert_close(whole(x)[:, part], unit(x[:, part]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("compconv128", "grouped convolution (groups=4): CompConv replaces dense ones"),
        ("dgconv", "learnable gates exist for groups=1 only"),
        ("igc-l2m2", "L=2 and M=2 are no multiples of the convolution's 4 groups"),
        ("igc-l4m4-w12", None),
    ],
)
def test_what_does_not_fit_a_grouped_convolution_says_why(method: str, reason: str | None) -> None:
    """Groups that a method can't follow give a reason; multiples of them are taken."""
    specs = parse_method(method).specs(conv_shape(nn.Conv2d(16, 16, 3, groups=4)), (8, 8))
    assert not isinstance(specs, Refusal) if reason is None else isinstance(specs, Refusal)
    assert reason is None or specs.reason.startswith(reason)


def _network(axes: int, groups: int) -> nn.Sequential:
    conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 1]
    return nn.Sequential(
        conv(3, 32, 3, padding=1),
        nn.ReLU(),
        conv(32, 32, 3, padding=1, stride=2, groups=groups, bias=False),
        norm(32),
        nn.ReLU(),
        conv(32, 48, (3,) * axes, padding="same", groups=groups),
    ).eval()


@pytest.mark.parametrize("method", ["igc", "dgconv", "auto"])
@pytest.mark.parametrize(("axes", "groups"), [(1, 1), (1, 2), (2, 4), (3, 1), (3, 2)])
def test_every_stage_takes_every_axis_and_group(axes: int, groups: int, method: str, tmp_path: Path) -> None:
    """From the survey through a measured plan, the fit, the checks and the report to a bit-equal copy from disk."""
    network = _network(axes, groups)
    size = {1: (64,), 2: (8, 8), 3: (6, 6, 6)}[axes]
    x, images = torch.rand(1, 3, *size), torch.rand(48, 3, *size)
    done = convert(network, x, method=method, target="macs=80%", calibration=[images])
    assert done.plan.replaced or done.plan.narrowed
    assert done.plan.after.macs == outside_macs(done.model, x) <= 0.8 * done.plan.before.macs
    assert done.plan.objective.startswith("measured")
    assert done.report.fidelity is not None
    assert done.report.fidelity.output_error < 0.5
    done.save(tmp_path / "saved")
    assert torch.equal(load(tmp_path / "saved", model=network)(x), done.model(x))


def test_a_fit_to_the_weights_alone_takes_every_axis() -> None:
    """Without calibration inputs a Conv1d network converts too, and keeps some of what it computed."""
    done = convert(_network(1, 2), torch.rand(1, 3, 8), method="igc", target="macs=80%")
    assert isinstance(done.model[5], IGC) or isinstance(done.model[2], IGC)
    assert "weights alone" in done.report.inherited


@pytest.mark.parametrize(("groups", "obstacle"), [(16, "depthwise: one input channel per group already"), (8, None)])
def test_depthwise_stays_and_two_channels_per_group_do_not(groups: int, obstacle: str | None) -> None:
    """Depthwise convolutions have nothing to give; the coarsest grouping above them may be taken."""
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=groups))
    assert inspect(network, torch.rand(1, 3, 9, 9)).sites[1].obstacle == obstacle


@st.composite
def _transposed(draw: st.DrawFn) -> ConvShape:
    """Few channels over 1–3 axes, overlapping or not, in groups or not."""
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2]))
    stride = draw(st.tuples(*[st.integers(1, 3)] * axes))
    return ConvShape(
        in_channels=groups * draw(st.sampled_from([2, 4])),
        out_channels=groups * draw(st.sampled_from([2, 4])),
        kernel=draw(st.tuples(*[st.integers(1, 4)] * axes)),
        stride=stride,
        padding=draw(st.tuples(*[st.integers(0, 1)] * axes)),
        dilation=draw(st.tuples(*[st.integers(1, 2)] * axes)),
        groups=groups,
        bias=draw(st.booleans()),
        output_padding=tuple(draw(st.integers(0, s - 1)) for s in stride),
    )


@settings(max_examples=80)
@given(_transposed(), st.sampled_from([1, 2]), st.booleans())
def test_a_transposed_unit_with_all_capacity_is_the_convolution(shape: ConvShape, m: int, seen: bool) -> None:
    """A 1×1 and a thin transposed convolution that can hold everything compute the same, at the price that is said."""
    conv = plain_conv(shape)
    x = torch.randn(3, shape.in_channels, *(4 + i for i in range(len(shape.kernel))))
    try:
        y = conv(x)
    except RuntimeError:
        assume(False)
    groups = shape.groups
    spec = IGCSpec(primary_groups=groups, secondary_groups=groups * m, mid_channels=m * shape.in_channels)
    module = replacement(conv, spec)
    with torch.no_grad():
        fit(module, conv, SiteData.of([(x, y)]) if seen else None)
        counter = FlopCounterMode(display=False)
        with counter:
            found = module(x)
    torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)
    cost = spec.cost(shape, 3 * x[0, 0].numel())
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("kernel", [2, 4])
def test_transposed_convolutions_convert_by_igc(kernel: int, tmp_path: Path) -> None:
    """An upsampling network goes through every stage; where contributions overlap the fit is approximate and works."""
    padding = (kernel - 2) // 2
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 32, kernel, stride=2, padding=padding, bias=False),
        nn.BatchNorm2d(32),
        nn.ConvTranspose2d(32, 8, kernel, stride=2, padding=padding),
    ).eval()
    x = torch.rand(1, 3, 6, 6)
    done = convert(network, x, method="igc", target="macs=60%", calibration=[torch.rand(48, 3, 6, 6)])
    assert [row.kind for row in done.plan.replaced] == ["ConvTranspose2d", "ConvTranspose2d"]
    assert done.plan.objective.startswith("measured")
    assert done.plan.after.macs == outside_macs(done.model, x)
    assert done.report.fidelity is not None
    assert done.report.fidelity.output_error < 0.1
    done.save(tmp_path / "saved")
    assert torch.equal(load(tmp_path / "saved", model=network)(x), done.model(x))


@pytest.mark.parametrize(("method", "reason"), [("compconv", "copies input channels"), ("dgconv", "groups ordinary")])
def test_transposed_convolutions_that_a_method_can_not_take_say_why(method: str, reason: str) -> None:
    """CompConv and DGConv have no natural form for a transposed convolution; IGC has."""
    shape = conv_shape(nn.ConvTranspose2d(32, 32, 2, stride=2))
    refusal = parse_method(method).under_target().specs(shape, (8, 8))
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("transposed convolution")
    assert reason in refusal.reason
    assert not isinstance(parse_method("igc").specs(shape, (8, 8)), Refusal)
