"""The benchmark of the papers' claims: costs are equal, budgets are kept, and verdicts say what the seeds do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.claims.cells import CLAIMS, GROUPS, SEEDS
from benchmarks.claims.gates import LearnedGates, to_be_learned
from benchmarks.claims.nets import bottlenecks, compconv, cost, ghost, plain, stack
from benchmarks.claims.pictures import dynamics, width_curve
from benchmarks.claims.rows import ROWS, Row
from benchmarks.claims.tables import COMPARED, Gain, table
from benchmarks.rows import read_rows

WIDTHS, STRIDES, POSITIONS = (8, 8, 16), (1, 2), (49, 16)


def test_what_is_compared_costs_the_same() -> None:
    """Within 5 % of the MACs, with every seed."""
    macs = {(row.claim, row.variant, row.seed): row.macs for row in read_rows(Row, ROWS)}
    pairs = [
        (macs[claim, better, seed], macs[claim, worse, seed])
        for claim, compared in COMPARED.items()
        for better, worse in compared
        for seed in SEEDS
        if {(claim, better, seed), (claim, worse, seed)} <= macs.keys()
    ]
    assert pairs
    for better, worse in pairs:
        assert better == pytest.approx(worse, rel=0.05)


def test_a_ghost_module_is_a_compconv_of_depth_one() -> None:
    """With s = 2 and a cheap operation of the convolution's own kernel, by parameters and MACs."""
    ours, theirs = (cost(stack(WIDTHS, STRIDES, unit)) for unit in (compconv(64), ghost(2)))
    assert ours == theirs
    assert ours != cost(stack(WIDTHS, STRIDES, plain))


def _gated(share: float) -> tuple[nn.Sequential, LearnedGates]:
    torch.manual_seed(0)
    net = bottlenecks(WIDTHS, STRIDES, to_be_learned)
    return net, LearnedGates(net, POSITIONS, groups=4, share=share)


@pytest.mark.parametrize(("share", "learns"), [(0.0, False), (1.0, True)])
def test_gates_learn_until_they_are_fixed(share: float, learns: bool) -> None:
    """Fixed gates get no gradient and keep the budget; free ones get one."""
    net, gates = _gated(share)
    gates.before_step(0, 4)
    gates.weighed(net(torch.randn(2, 1, 14, 14)).square().mean()).backward()
    latent = [parameter for name, parameter in net.named_parameters() if name.endswith("latent_gates")]
    assert [parameter.grad is not None for parameter in latent] == [learns] * len(latent)
    gates.before_step(round(4 * share), 4)
    assert gates.zeta() <= gates.budget
    assert len(gates.history) == 2


def test_the_budget_is_what_equal_groups_cost() -> None:
    """The MACs that ζ and o count are those of the hardened net."""
    _, gates = _gated(0.0)
    constant = [8 * 8 * 9 * 49 // 4, 8 * 8 * 9 * 16 // 4]
    assert gates.budget == sum(constant)
    gates.before_step(0, 4)
    spent = [8 * 8 * 9 * count // groups for count, groups in zip(POSITIONS, gates.groups(), strict=True)]
    assert gates.zeta() == sum(spent)


@pytest.mark.parametrize(
    ("better", "verdict"),
    [
        ([81.0, 82.1, 80.9], "holds here"),
        ([79.0, 80.1, 78.9], "doesn't hold here"),
        ([79.0, 82.1, 80.1], "can't be told"),
    ],
)
def test_verdicts(better: list[float], verdict: str) -> None:
    """A claim holds where the interval of its gain lies above 0, and doesn't where it lies below."""
    assert Gain.of(better, [80.0, 81.0, 80.0]).verdict == verdict


def _row(claim: str, variant: str, seed: int, top1: float, groups: tuple[tuple[int, ...], ...] = ()) -> Row:
    return Row(claim=claim, variant=variant, seed=seed, macs=1000, params=100, top1=top1, groups=groups)


def test_tables_and_pictures_show_the_rows() -> None:
    """Pairs need both nets and two seeds; the picture has a line for each layer."""
    rows = [_row("igc", "L25M2", 0, 80.0), _row("igc", "plain", 0, 79.0), _row("igc", "L25M2", 1, 81.0)]
    assert "| L25M2 | 1,000 | 100 | 2 | 80.50 ± 0.50 |" in table("igc", rows)
    assert "L25M2 than plain" not in table("igc", rows)
    assert "| L25M2 than plain | +1.00, +1.50 |" in table("igc", [*rows, _row("igc", "plain", 1, 79.5)])
    assert "L25M2" in width_curve(rows)
    drawn = dynamics([_row("groupnet", "learned", 0, 80.0, ((8, 2), (4, 4), (4, GROUPS)))])
    assert "layer 2" in drawn
    assert "layer 3" not in drawn


def test_the_page_shows_the_rows_that_are_kept() -> None:
    """Every line of the tables stands there."""
    page = (ROWS.parents[2] / "docs" / "claims.md").read_text(encoding="utf-8").splitlines()
    rows = read_rows(Row, ROWS)
    assert {row.claim for row in rows} == set(CLAIMS)
    assert {line for claim in CLAIMS for line in table(claim, rows).splitlines()} <= set(page)
