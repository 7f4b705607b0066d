"""Batch norms right behind fitted sites: their running statistics take up what the sites have no parameter for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["fold", "keeps_statistics"]


def keeps_statistics(model: nn.Module, name: str | None) -> bool:
    """Whether the module of that name is a batch norm that normalises by running statistics in eval mode."""
    return name is not None and _statistics(model.get_submodule(name)) is not None


def fold(norm: nn.Module, scale: Tensor | None, shift: Tensor) -> None:
    """Let the norm see scale·ŷ + shift [C] where it is given ŷ: exact, in its running statistics alone; scale > 0.

    Raises:
        ValueError: no batch norm, or one without running statistics.
    """
    if (found := _statistics(norm)) is None:
        raise ValueError(f"a {type(norm).__name__} without running statistics; expected a batch norm that has them")
    mean, variance, eps = found
    factor = torch.ones_like(shift) if scale is None else scale
    new_mean = (mean.double().cpu() - shift) / factor
    new_variance = (variance.double().cpu() + eps) / factor.square() - eps
    mean.copy_(new_mean)
    variance.copy_(new_variance.clamp(min=0))


def _statistics(norm: nn.Module) -> tuple[Tensor, Tensor, float] | None:
    """Running mean and variance [C], and what is added to the variance."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        return None
    return norm.running_mean, norm.running_var, norm.eps
