"""Every method on convolutions of every kind: the same output shape and the priced cost, or a reason."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convsurgeon import IGCSpec
from convsurgeon.families import parse_method
from convsurgeon.families.dgconv.unit import DGConv
from convsurgeon.families.family import Refusal
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.families.unit import CompactConv
from convsurgeon.surgery.operate import replacement
from tests.families.table import FIXED, WORDS

_CHANNELS = st.one_of(st.integers(1, 40), st.sampled_from([64, 96, 97, 128]))


@st.composite
def _convs(draw: st.DrawFn) -> nn.Conv2d:
    """The product of kernels (odd, even, asymmetric, 1×1), strides, dilations, paddings and channel counts."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    assume(padding != "same" or stride == (1, 1))
    c_in, c_out = draw(_CHANNELS), draw(_CHANNELS)
    return nn.Conv2d(
        c_in,
        c_out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        groups=draw(st.sampled_from([g for g in (1, 1, 1, 2, 3) if c_in % g == c_out % g == 0])),
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])),
        device="meta",
    )


def _runs(conv: nn.Conv2d, x: torch.Tensor) -> bool:
    try:
        return min(conv(x).shape) > 0
    except RuntimeError:
        return False


@settings(max_examples=200)
@given(_convs(), st.tuples(st.integers(1, 20), st.integers(1, 20)), st.sampled_from(WORDS), st.data())
def test_same_shape_and_priced_cost_or_a_reason(
    conv: nn.Conv2d, size: tuple[int, int], method: str, data: st.DataObject
) -> None:
    """A replacement has the convolution's output shape and costs what its spec says; or a reason is given."""
    x = torch.empty(2, conv.in_channels, *size, device="meta")
    assume(_runs(conv, x))
    wanted = conv(x).shape
    shape = conv_shape(conv)
    specs = parse_method(method).specs(shape, tuple(wanted[2:]), size)
    if isinstance(specs, Refusal):
        assert len(specs.reason) > 10
        return
    spec = data.draw(st.sampled_from(specs))
    module = replacement(conv, spec)
    counter = FlopCounterMode(display=False)
    with counter:
        y = module(x)
    assert y.shape == wanted
    cost = spec.cost(shape, 2 * wanted[2] * wanted[3])
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode"):
        assert getattr(module, name) == getattr(conv, name)


@pytest.mark.parametrize("method", WORDS)
def test_padding_done_outside_the_convolution(method: str) -> None:
    """A convolution that reads an input padded before it keeps its shape, whichever way the padding was done."""
    conv = nn.Conv2d(64, 64, 3, stride=2)
    padded = nn.functional.pad(torch.randn(1, 64, 15, 15), (0, 1, 0, 1))
    specs = parse_method(method).specs(conv_shape(conv), (7, 7), (16, 16))
    for spec in () if isinstance(specs, Refusal) else specs:
        assert replacement(conv, spec)(padded).shape == conv(padded).shape


@pytest.mark.parametrize("method", [word for word in FIXED if word != "dgconv"])
@pytest.mark.parametrize("attribute", ["weight", "bias"])
def test_reading_the_weight_says_why_there_is_none(method: str, attribute: str) -> None:
    """Code that reads .weight or .bias off a compact convolution is told why not, and what to do."""
    conv = nn.Conv2d(64, 64, 3, padding=1)
    (spec,) = parse_method(method).specs(conv_shape(conv), (8, 8))
    module = spec.build(conv_shape(conv))
    with pytest.raises(AttributeError, match=f"has no single '{attribute}'.*before the conversion"):
        getattr(module, attribute).view(-1)
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        module.wieght  # noqa: B018


def test_a_weight_that_is_only_asked_for_its_type_answers() -> None:
    """Forwards ask a weight for dtype, device and shape; that is answered, and mathematics on it is refused."""
    conv = nn.Conv2d(8, 16, 3, groups=2, bias=False, dtype=torch.bfloat16)
    weight = replacement(conv, IGCSpec(primary_groups=2, secondary_groups=2, mid_channels=8)).weight
    assert (weight.dtype, weight.device, weight.shape) == (torch.bfloat16, conv.weight.device, conv.weight.shape)
    with pytest.raises(AttributeError, match="IGC has no single 'weight'"):
        torch.mul(weight, 2)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_that_the_convolution_lacks_is_none(bias: bool) -> None:
    """Code that asks whether there is a bias learns the truth where there is none."""
    conv = nn.Conv2d(8, 16, 3, bias=bias)
    module = replacement(conv, IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=8))
    assert hasattr(module, "bias") != bias


@pytest.mark.parametrize("method", FIXED)
def test_modules_are_usable_alone(method: str) -> None:
    """A module built from its spec trains by itself: every parameter gets a gradient."""
    conv = nn.Conv2d(16, 24, 3, stride=2, padding=1)
    (spec,) = parse_method(method).specs(conv_shape(conv), (4, 4), (8, 8))
    module = spec.build(conv_shape(conv))
    module(torch.randn(2, 16, 8, 8)).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert all(gradient is not None and bool((gradient != 0).any()) for gradient in gradients.values())
    assert isinstance(module, CompactConv | DGConv)


def test_a_modules_repr_names_its_convolution_and_its_settings() -> None:
    """repr shows what the module stands for and how."""
    conv = nn.Conv2d(64, 128, 3, stride=2, padding=1)
    (spec,) = parse_method("compconv128").specs(conv_shape(conv), (4, 4))
    assert "64→128 3×3 /2, CompConv d=1 p=64" in repr(spec.build(conv_shape(conv)))


@pytest.mark.parametrize(
    "text", ["compconv12", "compconv-128", "igc-l4", "igc-l0m2", "dgconvs", "spatial-r0", "tucker-r8", "ghost", ""]
)
def test_unknown_methods_are_refused_with_the_known_forms(text: str) -> None:
    """A name that is no method is refused; the message lists the forms."""
    from convsurgeon import UsageError

    with pytest.raises(UsageError, match=f"unknown method '{text}'; expected auto, compconv"):
        parse_method(text)


@pytest.mark.parametrize("text", ["auto", "compconv", "compconv512", "igc", "igc-l24m2", "igc-l8m1-w96", "dgconv"])
def test_methods_keep_the_name_they_are_called_by(text: str) -> None:
    """A method's name is the word that was read."""
    assert parse_method(text).name == text
