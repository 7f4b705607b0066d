"""IGC against its definition spelled out: closed forms, complementarity, block rank one, special cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from convsurgeon import IGC, IGCSpec
from convsurgeon.families import parse_method
from convsurgeon.families.family import Refusal
from tests.families.plainly import SPATIAL_CASES, convolve, shape


def _unit(channels: int, groups: int, partitions: int, mid: int | None = None, **settings: object) -> IGC:
    like = shape(channels, channels, **settings)  # type: ignore[arg-type]
    spec = IGCSpec(primary_groups=groups, secondary_groups=partitions, mid_channels=mid or channels)
    return spec.build(like).double()


def _spelled_out(unit: IGC, x: Tensor) -> Tensor:
    """Secondary partition m reads the m-th share of every primary partition; the second permutation undoes it."""
    L, M = unit.spec.primary_groups, unit.spec.secondary_groups
    mid = convolve(unit.primary, x)
    share = mid.shape[1] // (L * M)
    reads = [[(part * M + m) * share + k for part in range(L) for k in range(share)] for m in range(M)]
    mixed = convolve(unit.secondary, mid[:, [channel for partition in reads for channel in partition]])
    per_partition = mixed.shape[1] // M
    return torch.stack([mixed[:, (o % M) * per_partition + o // M] for o in range(mixed.shape[1])], dim=1)


@pytest.mark.parametrize("case", SPATIAL_CASES)
@pytest.mark.parametrize(("L", "M", "mid"), [(3, 2, 6), (1, 1, 5), (3, 1, 6), (2, 3, 18), (1, 6, 6), (6, 1, 12)])
def test_the_output_is_the_papers_unit(L: int, M: int, mid: int, case: str) -> None:
    """Grouped spatial convolution, interleave, grouped 1×1, interleave back; also with a free mid width."""
    settings = SPATIAL_CASES[case]
    like = shape(6, 12, **settings)
    unit = IGCSpec(primary_groups=L, secondary_groups=M, mid_channels=mid).build(like).double()
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(unit(x), _spelled_out(unit, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("L", "M"), [(1, 4), (2, 2), (4, 1), (24, 2), (18, 2), (4, 32), (100, 2), (7, 3)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_strict_cost_is_the_closed_form(L: int, M: int, kernel: int) -> None:
    """Per position L·M²·S + M·L² = G²·(S/L + 1/M), G = L·M."""
    G, S = L * M, kernel**2
    spec = IGCSpec(primary_groups=L, secondary_groups=M, mid_channels=G)
    macs = spec.cost(shape(G, G, kernel), 1).macs
    assert macs == L * M**2 * S + M * L**2
    assert macs == pytest.approx(G**2 * (S / L + 1 / M))


def test_general_cost_is_the_closed_form() -> None:
    """Per position C_mid·C_in·S/L + C_out·C_mid/M; the bias adds C_out parameters and no MACs."""
    like = shape(48, 96, bias=True)
    spec = IGCSpec(primary_groups=4, secondary_groups=2, mid_channels=40)
    cost = spec.cost(like, 10)
    assert cost.macs == 10 * (40 * 48 * 9 // 4 + 96 * 40 // 2)
    assert cost.params == 40 * 48 * 9 // 4 + 96 * 40 // 2 + 96


def test_the_widest_unit_has_l_equal_to_m_times_s() -> None:
    """Of all units as wide as L18M2 with a 3×3 kernel, that one (L = M·S) is the cheapest: 2·G·√(G·S)."""
    G, S = 36, 9
    costs = {
        (L, G // L): IGCSpec(primary_groups=L, secondary_groups=G // L, mid_channels=G).cost(shape(G, G), 1).macs
        for L in range(1, G + 1)
        if G % L == 0
    }
    assert costs[18, 2] == 2 * G * math.isqrt(G * S)
    assert all(macs > costs[18, 2] for pair, macs in costs.items() if pair != (18, 2))


def _composed(unit: IGC) -> Tensor:
    """The dense kernel [C_out, C_in, k, k] of the whole unit, from its answers to impulses."""
    C, k = unit.in_channels, unit.kernel_size[0]
    impulses = torch.zeros(C, C, 2 * k - 1, 2 * k - 1, dtype=torch.float64)
    impulses[torch.arange(C), torch.arange(C), k - 1, k - 1] = 1
    with torch.no_grad():
        return unit(impulses).flip(-1, -2).transpose(0, 1)


@pytest.mark.parametrize(("L", "M"), [(4, 2), (2, 4), (3, 3), (1, 4), (4, 1), (6, 2)])
def test_a_strict_units_kernel_is_dense_and_block_rank_one(L: int, M: int) -> None:
    """Every input reaches every output, and each [outputs of m] × [inputs of l · S] block has rank one."""
    kernel = _composed(_unit(L * M, L, M, padding=0))
    assert bool((kernel != 0).all())
    for partition in range(L):
        for m in range(M):
            block = kernel[m::M, partition * M : (partition + 1) * M].reshape(L, -1)
            values = torch.linalg.svdvals(block)
            assert values[0] > 1e-3
            assert bool((values[1:] < 1e-12 * values[0]).all())


def test_exactly_one_path_joins_every_input_to_every_output() -> None:
    """With every weight 1, each entry of the composed kernel counts the paths: one."""
    unit = _unit(12, 4, 3, padding=0)
    for parameter in unit.parameters():
        torch.nn.init.ones_(parameter)
    assert torch.equal(_composed(unit), torch.ones(12, 12, 3, 3, dtype=torch.float64))


def test_l_1_is_a_regular_convolution_and_a_scale_per_channel() -> None:
    """L = 1: a regular convolution, then one factor per channel; with factors of 1 just the convolution."""
    unit = _unit(8, 1, 8)
    x = torch.randn(1, 8, 6, 6, dtype=torch.float64)
    scale = unit.secondary.weight.view(1, 8, 1, 1)
    torch.testing.assert_close(unit(x), unit.primary(x) * scale)
    torch.nn.init.ones_(unit.secondary.weight)
    torch.testing.assert_close(unit(x), unit.primary(x))


def test_m_1_is_depthwise_then_pointwise() -> None:
    """L = C, M = 1: a depthwise convolution, then a dense 1×1, as in Xception."""
    unit = _unit(8, 8, 1)
    x = torch.randn(1, 8, 6, 6, dtype=torch.float64)
    depthwise = torch.cat([convolve(unit.primary, x)[:, c : c + 1] for c in range(8)], dim=1)
    mixed = torch.einsum("oi,nihw->nohw", unit.secondary.weight[:, :, 0, 0], depthwise)
    torch.testing.assert_close(unit(x), mixed)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("igc-l3m2", "L=3 does not divide the 64 input channels"),
        ("igc-l4m3", "M=3 does not divide the 96 output channels"),
        ("igc-l4m2-w30", "the mid width 30 is no multiple of L·M = 8"),
    ],
)
def test_what_does_not_divide_is_refused_with_its_reason(method: str, reason: str) -> None:
    """L ∤ C_in, M ∤ C_out and a mid width that L·M does not divide are refusals."""
    c_out = 96 if method != "igc-l4m3" else 97
    refused = parse_method(method).specs(shape(64, c_out), (8, 8))
    assert isinstance(refused, Refusal)
    assert refused.reason == reason.replace("96", str(c_out))
    assert not isinstance(parse_method("igc-l4m2").specs(shape(64, 96), (8, 8)), Refusal)


def test_the_mid_width_is_c_out_unless_named() -> None:
    """igc-l4m2 has C_mid = C_out; -wN sets it."""
    like = shape(64, 96)
    (plain,) = parse_method("igc-l4m2").specs(like, (8, 8))
    (wide,) = parse_method("igc-l4m2-w128").specs(like, (8, 8))
    assert (plain.mid_channels, wide.mid_channels) == (96, 128)
    assert parse_method("igc-l4m2-w128").name == "igc-l4m2-w128"


@pytest.mark.parametrize(("c_in", "c_out"), [(64, 64), (256, 512), (96, 64)])
def test_blocks_fill_every_partition(c_in: int, c_out: int) -> None:
    """igc-bN is igc with only such mid widths as give each partition whole blocks of N channels."""
    like = shape(c_in, c_out)
    method = parse_method("igc-b16")
    specs = method.specs(like, (8, 8))
    assert method.name == "igc-b16"
    assert specs
    assert all(spec.mid_channels % (16 * spec.primary_groups) == 0 for spec in specs)
    assert any(spec.mid_channels % (16 * spec.primary_groups) for spec in parse_method("igc").specs(like, (8, 8)))


def test_blocks_wider_than_the_convolution_are_refused() -> None:
    """Where one block per partition saves nothing the reason names the block; a smaller one fits."""
    like = shape(16, 16)
    refused = parse_method("igc-b64").specs(like, (8, 8))
    assert isinstance(refused, Refusal)
    assert "in blocks of 64" in refused.reason
    assert not isinstance(parse_method("igc-b8").specs(like, (8, 8)), Refusal)


@pytest.mark.parametrize(("c_in", "c_out", "kernel"), [(64, 64, 3), (3, 7, 3), (37, 41, 3), (256, 64, 1), (5, 5, 1)])
def test_free_specs_save_macs_and_fit(c_in: int, c_out: int, kernel: int) -> None:
    """Every freely chosen unit builds, and costs less than the dense convolution; or there is a reason."""
    like = shape(c_in, c_out, kernel)
    specs = parse_method("igc").specs(like, (8, 8))
    if isinstance(specs, Refusal):
        assert "too few for any mid width" in specs.reason
        return
    assert len(set(specs)) == len(specs)
    for spec in specs:
        assert spec.cost(like, 1).macs < c_in * c_out * kernel**2
        assert spec.build(like)(torch.zeros(1, c_in, 6, 6)).shape == (1, c_out, 6, 6)
