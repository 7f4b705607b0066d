"""Errors of regressions on the first so many of a list of features, for many numbers of them in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families.regression.linear_algebra import factor
from convsurgeon.families.regression.linear_site import LinearSite

__all__ = ["Features", "Whitened", "leading_errors"]


@dataclass(frozen=True)
class Features:
    """Linear features of a site's patches, the most useful first.

    ``covariance`` [F, F] (ridged), ``cross`` [C_out, F] = Cov(y, features), the features of the ``held`` samples [Q, F]
    and their ``mean`` [F] over the samples fitted on.
    """

    covariance: Tensor
    cross: Tensor
    held: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Whitened:
    """Features made white and uncorrelated, each by those before it: ``explained`` [C_out, F] = Cov(y, features) and
    the features of the held samples [Q, F].

    The Cholesky factor of a leading part is the leading part of the factor, so what the first so many features predict
    is a running sum over them: ``seen[:, :n] @ explained[:, :n].T``, less the mean or bias.
    """

    explained: Tensor
    seen: Tensor

    @classmethod
    def of(cls, site: LinearSite, features: Features) -> Whitened:
        """One factorisation for all numbers of features."""
        lower = factor(features.covariance)
        held = features.held - features.mean if site.moments.centred else features.held
        return cls(_whitened(features.cross, lower), _whitened(held, lower))


def leading_errors(site: LinearSite, features: Features, widths: Sequence[int]) -> list[float]:
    """Held-out error of the least-squares map from the first so many features, for ascending ``widths``."""
    white = Whitened.of(site, features)
    found = site.level.expand_as(site.held_y).clone()
    errors, start = [], 0
    for width in widths:
        found.addmm_(white.seen[:, start:width], white.explained[:, start:width].T)
        errors.append(site.error_of(found))
        start = width
    return errors


def _whitened(rows: Tensor, lower: Tensor) -> Tensor:
    """``rows`` [n, D] of covariance lower·lowerᵀ, made white; leading columns need only the factor's leading part."""
    return torch.linalg.solve_triangular(lower, rows.T, upper=False).T
