"""DGConv: the Kronecker mask, its gradient, its cost, and the exactly equal hardened form."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from convsurgeon import DGConv, DGConvSpec, harden
from convsurgeon.families import parse_method
from convsurgeon.families.dgconv.spec import gate_count
from convsurgeon.families.dgconv.unit import relationship_matrix
from convsurgeon.families.family import Refusal
from convsurgeon.recovery.learned_groups.complexity import complexity, regulariser
from tests.families.plainly import SPATIAL_CASES, conv, shape


def _kron(gates: list[int]) -> np.ndarray:
    """U = U_1 ⊗ … ⊗ U_K with U_k = g_k·1 + (1 − g_k)·I, by numpy."""
    factors = [g * np.ones((2, 2)) + (1 - g) * np.eye(2) for g in gates]
    return reduce(np.kron, factors, np.ones((1, 1)))


def _with_gates(module: DGConv, gates: list[int]) -> DGConv:
    with torch.no_grad():
        module.latent_gates.copy_(torch.tensor([g - 0.5 for g in gates]))
    return module


@pytest.mark.parametrize("case", SPATIAL_CASES)
def test_open_gates_equal_the_convolution_bit_for_bit(case: str) -> None:
    """With all gates open the module computes exactly what the convolution with its weight computes."""
    like = shape(8, 12, **SPATIAL_CASES[case])
    plain, module = conv(like), DGConv(like)
    module.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 8, 9, 8)
    assert torch.equal(module(x), plain(x))


@pytest.mark.parametrize("gates", [[], [0], [1], [0, 1], [1, 0], [0, 1, 1], [1, 0, 1, 0], [0, 0, 0], [1, 1, 1]])
def test_the_relationship_matrix_is_the_kronecker_product(gates: list[int]) -> None:
    """U is U_1 ⊗ … ⊗ U_K, U_1 the most significant factor; all 1 is dense, all 0 the identity."""
    u = relationship_matrix(torch.tensor(gates, dtype=torch.float32)).numpy()
    assert np.array_equal(u, _kron(gates))
    if gates and not any(gates):
        assert np.array_equal(u, np.eye(2 ** len(gates)))


@pytest.mark.parametrize(
    ("c_in", "c_out", "k"), [(8, 8, 3), (8, 16, 3), (24, 8, 3), (96, 64, 5), (6, 10, 1), (7, 8, 0)]
)
def test_channel_counts_beyond_the_paper_expand_the_matrix(c_in: int, c_out: int, k: int) -> None:
    """K counts the factors 2 in gcd(C_in, C_out); each entry of U becomes a block of channels."""
    assert gate_count(c_in, c_out) == k
    gates = [i % 2 for i in range(k)]
    u = _with_gates(DGConv(shape(c_in, c_out)), gates).relationship().detach().numpy()
    assert np.array_equal(u, np.kron(_kron(gates), np.ones((c_out // 2**k, c_in // 2**k))))


def test_the_gradient_passes_straight_through() -> None:
    """d loss / d g̃ is half of d loss / d g, g = (sign(g̃) + 1) / 2, whatever the sign."""
    module = _with_gates(DGConv(shape(8, 8)), [1, 0, 1])
    x, target = torch.randn(1, 8, 5, 5), torch.randn(1, 8, 5, 5)
    ((module(x) - target) ** 2).mean().backward()
    gates = torch.tensor([1.0, 0.0, 1.0], requires_grad=True)
    mask = relationship_matrix(gates).view(8, 8, 1, 1)
    y = torch.nn.functional.conv2d(x, module.weight.detach() * mask, padding=1)
    ((y - target) ** 2).mean().backward()
    assert bool((gates.grad != 0).all())
    torch.testing.assert_close(module.latent_gates.grad, gates.grad / 2)


def test_weights_outside_the_mask_get_no_gradient() -> None:
    """The gradient of ω is masked by U as the weight is."""
    module = _with_gates(DGConv(shape(8, 8)), [0, 1, 0])
    module(torch.randn(1, 8, 5, 5)).square().sum().backward()
    allowed = module.relationship().detach().bool()
    assert torch.equal(module.weight.grad.abs().sum((2, 3)) > 0, allowed)


_CHANNELS = st.sampled_from([(8, 8), (16, 8), (8, 24), (12, 20), (32, 32), (6, 6), (1, 4), (48, 16)])


@given(_CHANNELS, st.integers(0, 31), st.sampled_from(sorted(SPATIAL_CASES)), st.booleans())
def test_hardened_equals_the_masked_convolution(channels: tuple[int, int], bits: int, case: str, bias: bool) -> None:
    """Permute → grouped convolution → permute back equals the dense masked convolution to 1e-5, for any gates."""
    like = shape(*channels, **{**SPATIAL_CASES[case], "bias": bias})
    gates = [bits >> k & 1 for k in range(gate_count(*channels))]
    module = _with_gates(DGConv(like), gates)
    hard = harden(module)
    x = torch.randn(2, channels[0], 9, 8)
    torch.testing.assert_close(hard(x), module(x), rtol=1e-5, atol=1e-5)
    assert hard.grouped.groups == 2 ** gates.count(0)


@given(st.integers(0, 10**6), st.sets(st.integers(0, 2)))
def test_what_groups_lose_is_what_least_squares_leaves(seed: int, closed: set[int]) -> None:
    """The share of the outputs' variance that the best weights inside the groups leave over, position by position."""
    random = torch.Generator().manual_seed(seed)
    module = DGConv(shape(8, 16))
    with torch.no_grad():
        module.weight.copy_(torch.randn(module.weight.shape, generator=random))
    inputs = torch.randn(400, 8, generator=random, dtype=torch.float64) @ torch.randn(8, 8, generator=random).double()
    inputs -= inputs.mean(0)
    left = whole = 0.0
    partition = module.partition(closed)
    for position in module.weight.detach().double().flatten(2).unbind(2):
        wanted = inputs @ position.T
        whole += float(wanted.square().sum())
        for outputs, channels in zip(partition.outputs, partition.inputs, strict=True):
            fitted = torch.linalg.lstsq(inputs[:, channels], wanted[:, outputs])
            left += float((wanted[:, outputs] - inputs[:, channels] @ fitted.solution).square().sum())
    assert module.lost(closed, inputs.T @ inputs / 400) == pytest.approx(left / whole, abs=0.01)


def test_channels_are_ordered_by_what_they_have_to_do_with_each_other() -> None:
    """Two hidden groups lie in any order; arranged, the first gate parts them and loses nothing."""
    module, order = DGConv(shape(16, 16)), torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.weight.mul_(((order[:, None] < 8) == (order[None] < 8))[:, :, None, None])
    white = torch.eye(16, dtype=torch.float64)
    assert module.lost({0}, white) > 0.3
    module.arrange(white)
    assert module.lost({0}, white) == pytest.approx(0, abs=0.01)
    assert module.lost({1}, white) > 0.3


def test_a_leak_lets_a_share_through() -> None:
    """Closed gates that leak by half give the mean of the dense and the masked convolution."""
    module, x = _with_gates(DGConv(shape(8, 8)), [0, 1, 1]), torch.randn(2, 8, 5, 5)
    outputs = []
    for leak in (0.0, 0.5, 1.0):
        module.leak.fill_(leak)
        outputs.append(module(x))
    torch.testing.assert_close(outputs[1], (outputs[0] + outputs[2]) / 2)
    torch.testing.assert_close(outputs[2], module._conv_forward(x, module.weight, module.bias))
    assert not torch.allclose(outputs[0], outputs[2])


def test_hardening_keeps_mode_dtype_and_attributes() -> None:
    """The hardened module follows the trained one's dtype and train flag, and looks like the convolution."""
    module = _with_gates(DGConv(shape(8, 16, stride=2)), [0, 1, 0]).double().eval()
    hard = harden(module)
    assert not hard.training
    assert hard.grouped.weight.dtype == torch.float64
    assert (hard.in_channels, hard.out_channels, hard.stride) == (8, 16, (2, 2))


@pytest.mark.parametrize("gates", [[0, 0, 0], [1, 0, 1], [1, 1, 1]])
@pytest.mark.parametrize(("c_in", "c_out"), [(8, 8), (24, 40)])
def test_complexity_is_the_number_of_ones(gates: list[int], c_in: int, c_out: int) -> None:
    """The ones in U are C·∏(1 + g_k) for C_in = C_out = 2^K, and as many blocks elsewhere."""
    ones = _with_gates(DGConv(shape(c_in, c_out)), gates).relationship().detach().sum()
    value = complexity(torch.tensor(gates, dtype=torch.float32), c_in, c_out)
    assert float(value) == float(ones)
    if c_in == c_out:
        assert float(value) == c_in * 2 ** sum(gates)


def test_the_regulariser_has_the_published_value() -> None:
    """[o/ζ]^a with a = −0.02 from ζ = o on and a = 0 below; dense layers with o = 32 groups give 32^0.02."""
    channels, open_gates = [128, 256, 512, 1024], torch.ones
    zeta = sum(complexity(open_gates(c.bit_length() - 1), c, c) for c in channels)
    budget = sum(c * c / 32 for c in channels)
    assert float(regulariser(zeta, budget)) == pytest.approx(32**0.02)
    assert float(regulariser(zeta, budget)) == pytest.approx(1.07177, abs=1e-5)
    assert float(regulariser(torch.tensor(budget), budget)) == 1
    assert float(regulariser(torch.tensor(budget / 2), budget)) == 1


def test_the_regulariser_pulls_open_gates_down() -> None:
    """Above the budget, its gradient lowers every latent gate; below, there is none."""
    module = DGConv(shape(8, 8))
    regulariser(complexity(module.gates(), 8, 8), 16.0).backward()
    assert bool((module.latent_gates.grad > 0).all())
    module.latent_gates.grad = None
    factor = regulariser(complexity(module.gates(), 8, 8), 65.0)
    assert float(factor) == 1
    assert not factor.requires_grad


@pytest.mark.parametrize("groups", [None, 1, 2, 8])
def test_cost_is_what_is_counted(groups: int | None) -> None:
    """Open gates cost the dense convolution and K parameters; 2^z groups cost 1 / 2^z of it."""
    like = shape(8, 24, bias=True)
    spec = DGConvSpec(groups=groups)
    module = spec.build(like)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(2, 8, 5, 5))
    cost = spec.cost(like, 50)
    assert cost.macs == 50 * 24 * 8 * 9 // (groups or 1) == counter.get_total_flops() // 2
    assert cost.params == sum(p.numel() for p in module.parameters())


def test_hardened_method_proposes_every_power_of_two() -> None:
    """With a target: 2 … 2^K groups; without: open gates; odd channels have nothing to group."""
    like = shape(24, 16)
    assert [spec.groups for spec in parse_method("dgconv").under_target().specs(like, (8, 8))] == [2, 4, 8]
    assert [spec.groups for spec in parse_method("dgconv").specs(like, (8, 8))] == [None]
    refused = parse_method("dgconv").specs(shape(24, 15), (8, 8))
    assert isinstance(refused, Refusal)
    assert refused.reason == "24 and 15 channels have no common factor 2"
