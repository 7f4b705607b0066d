"""Maps whose first factor all slices of the input share: the start, and what improves it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from convsurgeon.families.regression import shared_factor
from convsurgeon.families.regression.shared_factor import Slices, after, improved, start

COUNT, WIDTH, RANK, OUTPUTS = 3, 12, 4, 9


def _problem() -> tuple[Tensor, Slices]:
    """A random map [C, n·P] and the covariance of inputs whose slices have much in common."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(COUNT * WIDTH, COUNT * WIDTH, generator=generator, dtype=torch.float64)
    inputs = torch.randn(2000, COUNT * WIDTH, generator=generator, dtype=torch.float64) @ mixing
    weight = torch.randn(OUTPUTS, COUNT * WIDTH, generator=generator, dtype=torch.float64)
    return weight, Slices(inputs.T @ inputs / len(inputs), COUNT)


def _error(weight: Tensor, ahead: Tensor, behind: Tensor, slices: Slices) -> float:
    left = weight - torch.cat([part @ ahead for part in behind.chunk(COUNT, dim=1)], dim=1)
    return float((left @ slices.covariance * left).sum())


def _best_for(behind: Tensor, cross: Tensor, slices: Slices) -> Tensor:
    """The best A for B from all normal equations at once, which real layers have too many of."""
    parts, crosses = behind.chunk(COUNT, dim=1), cross.chunk(COUNT, dim=1)
    blocks = slices.covariance.view(COUNT, WIDTH, COUNT, WIDTH)
    matrix = sum(torch.kron(parts[j].T @ parts[k], blocks[j, :, k]) for j in range(COUNT) for k in range(COUNT))
    wanted = sum(part.T @ crossed for part, crossed in zip(parts, crosses, strict=True))
    return torch.linalg.solve(matrix, wanted.flatten()).view(RANK, WIDTH)


def test_conjugate_gradients_solve_the_normal_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many steps as it takes, the first factor is the one that solving them outright gives."""
    monkeypatch.setattr(shared_factor, "STEPS", 200)
    weight, slices = _problem()
    cross = weight @ slices.covariance
    ahead = start(weight, slices, RANK)
    behind = after(ahead, cross, slices)
    torch.testing.assert_close(improved(ahead, behind, cross, slices), _best_for(behind, cross, slices))


def test_each_step_in_turn_comes_nearer() -> None:
    """Neither the few steps on the first factor nor the least squares of the second ever lose what was reached."""
    weight, slices = _problem()
    cross = weight @ slices.covariance
    ahead = start(weight, slices, RANK)
    behind = after(ahead, cross, slices)
    errors = [_error(weight, ahead, behind, slices)]
    for _ in range(3):
        ahead = improved(ahead, behind, cross, slices)
        errors.append(_error(weight, ahead, behind, slices))
        behind = after(ahead, cross, slices)
        errors.append(_error(weight, ahead, behind, slices))
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))


def test_the_start_is_the_best_where_slices_are_alike_and_apart() -> None:
    """With one covariance for all slices and none between them, nothing can be improved; with others it can."""
    weight, _ = _problem()
    slices = Slices(torch.eye(COUNT * WIDTH, dtype=torch.float64), COUNT)
    ahead = start(weight, slices, RANK)
    behind = after(ahead, weight, slices)
    again = improved(ahead, behind, weight, slices)
    torch.testing.assert_close(again, ahead)
