"""Small dense solvers that bear rank-deficient covariances."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["factor", "solve_right", "truncate"]

JITTER = 1e-12
MOST_JITTER = 1e-2


def factor(covariance: Tensor) -> Tensor:
    """Lower Cholesky factor [D, D] of a positive semi-definite matrix, with as little added power as it takes."""
    power = float(covariance.diagonal().mean())
    if not power > 0:
        return torch.eye(len(covariance)).to(covariance)
    jitter = JITTER
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


def solve_right(rows: Tensor, lower: Tensor) -> Tensor:
    """``rows`` [C, D] times the inverse of the matrix whose Cholesky factor is ``lower`` [D, D]."""
    return torch.cholesky_solve(rows.T, lower).T


def truncate(weight: Tensor, covariance: Tensor, lower: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Best rank-``rank`` map Q·P [C, r]·[r, D] to ``weight`` [C, D] on inputs of that covariance.

    Minimises E‖(W − Q·P)·u‖²; strongest direction first, so that a smaller rank is a prefix. Solved by the
    eigenvectors of W·Cov·Wᵀ, or of its transpose where the inputs are fewer.
    """
    outputs, inputs = weight.shape
    if inputs >= outputs:
        vectors = _strongest(weight @ covariance @ weight.T, rank)
        return vectors, vectors.T @ weight
    scaled = weight @ lower
    vectors = _strongest(scaled.T @ scaled, rank)
    return scaled @ vectors, torch.linalg.solve_triangular(lower.T, vectors, upper=True).T


def _strongest(symmetric: Tensor, rank: int) -> Tensor:
    """Eigenvectors [n, rank] of the largest eigenvalues, largest first."""
    return torch.linalg.eigh(symmetric)[1].flip(1)[:, :rank]
