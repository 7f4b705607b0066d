"""Errors of regressions on the first so many of a list of features, for many numbers of them in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.families.regression.linear_algebra import factor
from convsurgeon.families.regression.linear_site import LinearSite

__all__ = ["Features", "leading_errors"]


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


def leading_errors(site: LinearSite, features: Features, widths: Sequence[int]) -> list[float]:
    """Held-out error of the least-squares map from the first so many features, for ascending ``widths``.

    The Cholesky factor of a leading part is the leading part of the factor, so predictions are a running sum over
    whitened features.
    """
    moments = site.moments
    lower = factor(features.covariance)
    explained = _whitened(features.cross, lower)
    seen = _whitened(features.held - features.mean if moments.centred else features.held, lower)
    found = (moments.mean_y if moments.centred else site.original.bias).expand_as(site.held_y).clone()
    errors, start = [], 0
    for width in widths:
        found.addmm_(seen[:, start:width], explained[:, start:width].T)
        errors.append(site.error_of(found))
        start = width
    return errors


def _whitened(rows: Tensor, lower: Tensor) -> Tensor:
    """``rows`` [n, D] of covariance lower·lowerᵀ, made white; leading columns need only the factor's leading part."""
    return torch.linalg.solve_triangular(lower, rows.T, upper=False).T
