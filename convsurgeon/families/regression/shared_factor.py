"""Maps whose first factor is shared by all slices of the input: y = Σ_j B_j·A·u_j, as in separable convolutions.

The slices u_j [P] are parts of an unfolded patch (its columns, its rows, its positions) that one and the same
convolution A [R, P] reads one after the other; what comes next, B [C_out, n·R], sees all n of its outputs.

A has a closed form where the slices have one covariance and nothing in common; that is the start, whose rows come
strongest first, so that fewer of them are the best for a smaller R. On real inputs A and B are then improved in turn:
B by least squares, A by a few conjugate-gradient steps on its normal equations

    Σ_jk BⱼᵀBₖ·A·Cov(u_k, u_j) = Σ_j Bⱼᵀ·Cov(y, u_j)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from convsurgeon.families.regression.leading_features import Features
from convsurgeon.families.regression.linear_algebra import factor, solve_right, strongest
from convsurgeon.families.regression.linear_site import LinearSite

__all__ = ["Slices", "after", "channel_features", "improved", "slicewise", "start"]

# Enough after whitening: with six the networks of docs/accuracy.md end within 0.002 points of the same output error.
STEPS = 2


@dataclass(frozen=True)
class Slices:
    """Input covariance [n·P, n·P], slice by slice."""

    covariance: Tensor
    count: int

    @property
    def width(self) -> int:
        """P, the inputs of one slice."""
        return len(self.covariance) // self.count

    @cached_property
    def lower(self) -> Tensor:
        """Cholesky factor [P, P] of the slices' mean covariance."""
        return factor(self._blocks.diagonal(dim1=0, dim2=2).mean(-1))

    @cached_property
    def _blocks(self) -> Tensor:
        return self.covariance.view(self.count, self.width, self.count, self.width)

    def spread(self, ahead: Tensor) -> Tensor:
        """Cov(A·u_j, u) [n·R, n·P]."""
        return torch.cat([ahead @ rows for rows in torch.split(self.covariance, self.width)])


def start(weight: Tensor, slices: Slices, rank: int) -> Tensor:
    """A [R, P] for a map ``weight`` [C, n·P], as if slices were alike and uncorrelated; strongest row first."""
    stacked = torch.cat(weight.chunk(slices.count, dim=1)) @ slices.lower
    vectors = strongest(stacked.T @ stacked, min(rank, slices.width))
    return torch.linalg.solve_triangular(slices.lower.T, vectors, upper=True).T


def slicewise(ahead: Tensor, rows: Tensor, count: int) -> Tensor:
    """``rows`` [m, n·P] with A [R, P] applied to each slice: [m, n·R]."""
    return torch.cat([part @ ahead.T for part in rows.chunk(count, dim=1)], dim=1)


def channel_features(site: LinearSite, order: Tensor, count: int, rank: int) -> Features:
    """What A sees of a site's patches, whose columns in ``order`` [n·P] are ``count`` slices.

    A channel's slices stand side by side, strongest channel first, so that fewer channels are a leading part.
    """
    slices = Slices(site.ridged.uu[order[:, None], order], count)
    ahead = start(site.original.weight[:, order], slices, rank)

    def seen(rows: Tensor) -> Tensor:
        return slicewise(ahead, rows, count).view(len(rows), count, -1).transpose(1, 2).flatten(1)

    return Features(
        covariance=seen(seen(slices.covariance).T),
        cross=seen(site.cross[:, order]),
        held=seen(site.held_u[:, order]),
        mean=seen(site.moments.mean_u[None, order])[0],
    )


def after(ahead: Tensor, cross: Tensor, slices: Slices) -> Tensor:
    """B [C, n·R], the least-squares map from A's outputs; ``cross`` [C, n·P] = Cov(y, u)."""
    mid = slicewise(ahead, slices.spread(ahead), slices.count)
    return solve_right(slicewise(ahead, cross, slices.count), factor((mid + mid.T) / 2))


def improved(ahead: Tensor, behind: Tensor, cross: Tensor, slices: Slices) -> Tensor:
    """A [R, P] nearer to the best one for B [C, n·R]: conjugate gradients, whitened on both sides."""
    parts = torch.stack(behind.chunk(slices.count, dim=1))
    inner = factor(torch.einsum("jcr,jcs->rs", parts, parts))
    parts = torch.linalg.solve_triangular(inner, parts.transpose(1, 2), upper=False)
    products = torch.einsum("jrc,ksc->jrks", parts, parts).flatten(2).flatten(0, 1)
    wanted = sum(part @ crossed for part, crossed in zip(parts, cross.chunk(slices.count, dim=1), strict=True))

    def applied(x: Tensor) -> Tensor:
        full = torch.linalg.solve_triangular(slices.lower.T, x.T, upper=True).T
        mixed = products.view(slices.count, len(x), -1)
        seen = slices.spread(full)
        each = seen.view(slices.count * len(x), slices.count, slices.width)
        total = sum(mixed[j] @ each[:, j] for j in range(slices.count))
        return _whitened(total, slices.lower)

    x = (inner.T @ ahead) @ slices.lower
    residual = _whitened(wanted, slices.lower) - applied(x)
    direction, power = residual.clone(), residual.square().sum()
    for _ in range(STEPS):
        if not power > 0:
            break
        image = applied(direction)
        length = power / (direction * image).sum().clamp(min=1e-300)
        x, residual = x + length * direction, residual - length * image
        power, before = residual.square().sum(), power
        direction = residual + (power / before) * direction
    unmixed = torch.linalg.solve_triangular(inner.T, x, upper=True)
    return torch.linalg.solve_triangular(slices.lower, unmixed, upper=False, left=False)


def _whitened(rows: Tensor | int, lower: Tensor) -> Tensor:
    """rows · lower⁻ᵀ."""
    return torch.linalg.solve_triangular(lower, torch.as_tensor(rows).T, upper=False).T
