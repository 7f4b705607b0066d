"""CompConv against the paper's recursion written out, its closed forms and its ratio table."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from convsurgeon import CompConv, CompConvSpec, ConvShape
from convsurgeon.families import parse_method
from convsurgeon.families.compconv.spec import depth_for
from convsurgeon.families.family import Refusal
from tests.families.plainly import SPATIAL_CASES, conv, convolve, paddings, shape

C0 = (32, 64, 128, 256, 512)


def _centres(x: Tensor, channel: int, like: ConvShape, size: torch.Size) -> Tensor:
    """One input channel read at the centre of every output's receptive field, position by position."""
    pads = paddings(conv(like))
    out = torch.zeros(x.shape[0], 1, *size, dtype=x.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            y, z = (
                place * like.stride[axis] + like.dilation[axis] * (like.kernel[axis] - 1) // 2 - pads[axis][0]
                for axis, place in enumerate((row, column))
            )
            if 0 <= y < x.shape[2] and 0 <= z < x.shape[3]:
                out[:, 0, row, column] = x[:, channel, y, z]
    return out


def _recursion(unit: CompConv, x: Tensor) -> Tensor:
    """X_{B_i} = W_{i+1} * (X_{A_{i+1}} ⊕ X_{B_{i+1}}), down from X_{B_{d-1}} = W * X_in; then the shuffle."""
    d, p, like = unit.spec.depth, unit.spec.primary_channels, unit.shape
    b = {d - 1: convolve(unit.primary, x)}
    a: dict[int, Tensor] = {}
    size, copied = b[d - 1].shape[2:], 0
    for i in range(d - 1, 0, -1):
        width = 2 ** (d - 1 - i) * p
        a[i] = torch.cat([_centres(x, copied + j, like, size) for j in range(width)], dim=1)
        copied += width
        b[i - 1] = convolve(unit.levels[d - 1 - i], torch.cat((a[i], b[i]), dim=1))
    slots = [] if unit.tail is None else [convolve(unit.tail, b[0][:, : unit.tail.in_channels])]
    slots.append(b[0])
    for i in range(1, d):
        slots += [a[i], b[i]]
    before = torch.cat(slots, dim=1)
    half = -(-like.out_channels // 2)
    shuffled = []
    for j in range(half):
        shuffled += [before[:, j]] + ([before[:, half + j]] if half + j < like.out_channels else [])
    return torch.stack(shuffled, dim=1)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("case", SPATIAL_CASES)
def test_the_output_is_the_papers_recursion(case: str, depth: int) -> None:
    """A unit computes the recursion of the paper, whatever the convolution's spatial settings."""
    like = shape(9, 27, **SPATIAL_CASES[case])
    unit = CompConvSpec.of(like, depth).build(like).double()
    x = torch.randn(2, 9, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(unit(x), _recursion(unit, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("depth", [2, 3])
def test_identity_channels_reappear_bit_for_bit(depth: int) -> None:
    """p·(2^{d−1} − 1) output channels are exact copies of the stated input channels."""
    like = shape(64, 64)
    spec = CompConvSpec.of(like, depth)
    unit = spec.build(like)
    x = torch.randn(1, 64, 7, 7)
    y = unit(x)
    b0 = unit.tail_channels + 2 ** (depth - 1) * spec.primary_channels
    copied = 0
    for i in range(depth - 1, 0, -1):
        width = 2 ** (depth - 1 - i) * spec.primary_channels
        # A_1 stands behind B_0, and every A_i is followed by a B_i of its own width.
        start = b0 + sum(2 * 2 ** (depth - 1 - j) * spec.primary_channels for j in range(1, i))
        for k in range(width):
            place = int((unit.output_order == start + k).nonzero())
            assert torch.equal(y[:, place], x[:, int(unit.identity_index[copied + k])])
        copied += width
    assert copied == spec.identity_channels == spec.primary_channels * (2 ** (depth - 1) - 1)


@pytest.mark.parametrize("stride", [2, 3])
def test_identity_channels_are_read_at_the_stride(stride: int) -> None:
    """Under a stride the copies are every s-th pixel of the input, and cost no MACs."""
    like = shape(32, 32, stride=stride)
    spec = CompConvSpec.of(like, 2)
    unit = spec.build(like)
    x = torch.randn(1, 32, 9, 9)
    slots = unit.slots(x)
    start = unit.tail_channels + 2 * spec.primary_channels
    assert torch.equal(
        slots[:, start : start + spec.primary_channels], x[:, : spec.primary_channels, ::stride, ::stride]
    )


@pytest.mark.parametrize("area", [1, 9, 25])
@pytest.mark.parametrize("c_out", [48, 64, 100, 256])
@pytest.mark.parametrize("c0", C0)
@pytest.mark.parametrize("c_in", [16, 64, 128, 300, 512, 1024, 2048])
def test_cost_is_the_closed_form(c_in: int, c0: int, c_out: int, area: int) -> None:
    """H·W·k²·(C_in·p + Σ (2^i·p)² + 2^{d−1}·p), less the tail's surplus, for every depth and C_0."""
    like = shape(c_in, c_out, math.isqrt(area))
    (spec,) = parse_method(f"compconv{c0}").specs(like, (7, 5))
    d = min(math.floor(math.log2(max(1, c_in / c0))) + 1, 3)
    while math.ceil(c_out / (2 * (2**d - 1))) * (2 ** (d - 1) - 1) > c_in:
        d -= 1
    p = math.ceil(c_out / (2 * (2**d - 1)))
    surplus = sum(2**i for i in range(1, d + 1)) * p - c_out
    per_position = area * (c_in * p + sum((2**i * p) ** 2 for i in range(1, d)) + 2 ** (d - 1) * p - surplus)
    assert (spec.depth, spec.primary_channels) == (d, p)
    assert spec.cost(like, 35).macs == 35 * per_position
    assert spec.cost(like, 35).params == per_position


@pytest.mark.parametrize(
    ("channels", "depth", "percent"),
    [(64, 3, 20.5), (128, 3, 20.3), (256, 3, 18.6), (512, 3, 17.7)],
)
def test_ratio_table_at_depth_3(channels: int, depth: int, percent: float) -> None:
    """The paper's complexity at d = 3 and C_in = C_out as a share of the dense convolution; less what the cut saves."""
    like = shape(channels, channels)
    spec = CompConvSpec.of(like, depth)
    kept = spec.cost(like, 1).macs
    surplus = 2 ** (depth - 1) * spec.primary_channels - spec.tail_channels(channels)
    assert 100 * (kept + 9 * surplus) / (9 * channels**2) == pytest.approx(percent, abs=0.05)
    assert 100 * kept / (9 * channels**2) == pytest.approx(percent, abs=0.2)


@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_ratios_at_depth_1_and_2(channels: int) -> None:
    """28–29.5 % at d = 2 and 50.1–50.8 % at d = 1, where C_in = C_out."""
    like = shape(channels, channels)
    two, one = (100 * CompConvSpec.of(like, d).cost(like, 1).macs / (9 * channels**2) for d in (2, 1))
    assert 28 <= two <= 29.5
    assert 50.05 <= one <= 50.85


@pytest.mark.parametrize(("c_in", "c_out", "kernel"), [(64, 64, 3), (64, 256, 1), (30, 50, 5), (7, 33, 3)])
def test_depth_1_costs_a_ghost_unit(c_in: int, c_out: int, kernel: int) -> None:
    """At d = 1 the cost is that of a Ghost unit with s = 2 and a k×k cheap operation."""
    like = shape(c_in, c_out, kernel)
    intrinsic = math.ceil(c_out / 2)
    ghost = kernel**2 * (c_in * intrinsic + (c_out - intrinsic))
    assert CompConvSpec.of(like, 1).cost(like, 1).macs == ghost


@pytest.mark.parametrize(
    ("c_in", "c0", "depth"),
    [
        (3, 128, 1),
        (127, 128, 1),
        (128, 128, 1),
        (255, 128, 1),
        (256, 128, 2),
        (511, 128, 2),
        (512, 128, 3),
        (4096, 128, 3),
        (64, 32, 2),
        (128, 32, 3),
        (2048, 512, 3),
        (1024, 512, 2),
    ],
)
def test_depth_follows_the_input_channels(c_in: int, c0: int, depth: int) -> None:
    """d = min(⌊log2(max(1, C_in / C_0))⌋ + 1, 3)."""
    assert depth_for(c_in, c0) == depth


def test_depth_is_lowered_where_the_input_is_too_thin() -> None:
    """More copies than input channels lower the depth: 40 → 2000 channels can't copy 429 of 40."""
    (wide,) = parse_method("compconv32").specs(shape(128, 2000), (8, 8))
    (fits,) = parse_method("compconv32").specs(shape(128, 298), (8, 8))
    assert (wide.depth, fits.depth) == (1, 3)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_a_map_smaller_than_the_padding_is_refused(mode: str) -> None:
    """Inner convolutions can't reflect or wrap around a map smaller than their padding; zeros always work."""
    like = shape(64, 64, 7, stride=4, padding_mode=mode)
    refused = parse_method("compconv128").specs(like, (2, 2))
    assert isinstance(refused, Refusal)
    assert refused.reason == f"{mode} padding of 3 needs a map larger than 2"
    assert parse_method("compconv128").specs(like.model_copy(update={"padding_mode": "zeros"}), (2, 2))
    assert not isinstance(parse_method("compconv128").specs(like, (4, 4)), Refusal)


def test_grouped_convolutions_are_refused() -> None:
    """CompConv replaces dense convolutions; the same one without groups is accepted."""
    dense = shape(64, 64)
    refused = parse_method("compconv").specs(dense.model_copy(update={"groups": 4}), (8, 8))
    assert isinstance(refused, Refusal)
    assert refused.reason == "grouped convolution (groups=4): CompConv replaces dense ones"
    assert [spec.depth for spec in parse_method("compconv").specs(dense, (8, 8))] == [3, 2, 1]


def test_the_surplus_is_cut_from_the_tail() -> None:
    """A_0 is 2^{d−1}·p channels less what Σ 2^i·p exceeds C_out by; with one output channel it is empty."""
    like = shape(64, 64)
    spec = CompConvSpec.of(like, 3)
    assert (spec.primary_channels, spec.tail_channels(64)) == (5, 4 * 5 - (14 * 5 - 64))
    alone = CompConvSpec.of(shape(8, 1), 1).build(shape(8, 1))
    assert alone.tail is None
    assert alone(torch.zeros(1, 8, 4, 4)).shape == (1, 1, 4, 4)
