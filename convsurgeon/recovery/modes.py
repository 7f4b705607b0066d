"""Which modules are in training mode while a network recovers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsurgeon.base.observe import Before, observed
from convsurgeon.recovery.settings import RecoverSettings

__all__ = ["norms_follow", "resting_alone", "set_modes"]


def norms_follow(settings: RecoverSettings, step: int, total: int, settled: int = 0) -> bool:
    """Whether batch norms use and follow the batch's statistics in the step after ``step`` steps.

    Those that settle do so after a share of the steps in which the network has its final form, ``settled`` and later:
    statistics of features that are yet to change would stay for good.
    """
    resting = settled + settings.settle_share * (total - settled)
    return settings.norms == "batch" or (settings.norms == "settle" and step < resting)


def set_modes(model: nn.Module, following: bool) -> None:
    """Eval mode throughout, as the original runs, except batch norms where they follow the batch.

    So outputs have the original's structure (no auxiliary heads, no detector losses), and dropout adds no noise to
    what is compared. A batch norm in a frozen part of the network keeps its statistics.
    """
    model.eval()
    if following:
        _follow_batches(model, True)


def _follow_batches(module: nn.Module, learning: bool) -> None:
    own = list(module.parameters())
    # A norm without parameters of its own goes with what it stands in.
    learns = any(p.requires_grad for p in own) if own else learning
    if isinstance(module, _BatchNorm):
        module.training = learns and module.track_running_stats
    for child in module.children():
        _follow_batches(child, learns)


def resting_alone(model: nn.Module, rested: set[str]) -> AbstractContextManager[None]:
    """While the block runs, batch norms that meet a single value per channel keep their statistics for that call.

    It has no variance to follow, and torch refuses it: the last image of an epoch, alone in its batch, where a network
    pools to 1×1. The names of such norms are added to ``rested``.
    """

    def rest(name: str, norm: _BatchNorm) -> Before:
        def check(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            if args and args[0].numel() == norm.num_features:
                norm.training = False
                rested.add(name)

        return check

    following = [(n, m) for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.training]
    return observed(before=[(norm, rest(name, norm)) for name, norm in following])
