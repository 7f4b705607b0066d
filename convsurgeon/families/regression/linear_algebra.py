"""Small dense solvers that bear rank-deficient covariances."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["factor", "factor_each", "solve_right", "solve_right_each", "strongest"]

# Above the rounding of a factorisation.
JITTER = {torch.float64: 1e-12, torch.float32: 1e-7}
MOST_JITTER = 1e-2


def factor(covariance: Tensor) -> Tensor:
    """Lower Cholesky factor [D, D] of a positive semi-definite matrix, with as little added power as it takes."""
    power = float(covariance.diagonal().mean())
    if not power > 0:
        return torch.eye(len(covariance)).to(covariance)
    jitter = JITTER[covariance.dtype]
    while jitter <= MOST_JITTER:
        lower, failed = torch.linalg.cholesky_ex(covariance)
        if not failed:
            return lower
        covariance = covariance.clone()
        covariance.diagonal().add_(jitter * power)
        jitter *= 100
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=MOST_JITTER * power).sqrt()
    return torch.linalg.qr(root.T)[1].T


def factor_each(covariances: Tensor) -> Tensor:
    """`factor` of each of many [G, D, D]; at once where none of them is rank-deficient."""
    lower, failed = torch.linalg.cholesky_ex(covariances)
    if failed.any():
        return torch.stack([factor(covariance) for covariance in covariances])
    return lower


def solve_right(rows: Tensor, lower: Tensor) -> Tensor:
    """``rows`` [C, D] times the inverse of the matrix whose Cholesky factor is ``lower`` [D, D]."""
    return torch.cholesky_solve(rows.T, lower).T


def solve_right_each(rows: Tensor, lower: Tensor) -> Tensor:
    """`solve_right` for each of many: [G, C, D] by [G, D, D]."""
    return torch.cholesky_solve(rows.mT, lower).mT.contiguous()


def strongest(symmetric: Tensor, rank: int) -> Tensor:
    """Eigenvectors [n, rank] of the largest eigenvalues, largest first."""
    return torch.linalg.eigh(symmetric)[1].flip(1)[:, :rank]
