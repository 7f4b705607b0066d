"""Batch norms right behind fitted sites: their running statistics take up what the sites have no parameter for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["fold", "keeps_statistics"]


def keeps_statistics(module: nn.Module) -> bool:
    """Whether the module is a batch norm that normalises by running statistics in eval mode."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None


def fold(norm: _BatchNorm, scale: Tensor | None, shift: Tensor) -> None:
    """Let the norm see scale·ŷ + shift where it is given ŷ: exact, in its running statistics alone; scale > 0."""
    mean, variance = _statistics(norm)
    factor = torch.ones_like(shift) if scale is None else scale
    new_mean = (mean.double().cpu() - shift) / factor
    new_variance = (variance.double().cpu() + norm.eps) / factor.square() - norm.eps
    mean.copy_(new_mean)
    variance.copy_(new_variance.clamp(min=0))


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("this batch norm keeps no running statistics")
    return norm.running_mean, norm.running_var
