"""What people do to a module object itself: weights that a hook computes, a forward put on the instance."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["calls_other_modules", "computed_by_hook"]

_REMEDIES = {
    BasePruningMethod: "pruned by a mask: make that permanent first, by torch.nn.utils.prune.remove(module, NAME)",
    WeightNorm: "computed by weight_norm's hook: call torch.nn.utils.remove_weight_norm(module) first",
    SpectralNorm: "computed by spectral_norm's hook: call torch.nn.utils.remove_spectral_norm(module) first",
}


def computed_by_hook(module: nn.Module) -> str | None:
    """Which of torch's hooks computes a parameter of the module before each forward, and how to be rid of it."""
    hooks = module._forward_pre_hooks.values()
    return next((words for kind, words in _REMEDIES.items() if any(isinstance(hook, kind) for hook in hooks)), None)


def calls_other_modules(module: nn.Module) -> bool:
    """Whether ``forward`` is a function on the instance that holds modules, which a copy's would still call."""
    forward = vars(module).get("forward")
    if not isinstance(forward, FunctionType):
        return False
    held = (*(cell.cell_contents for cell in forward.__closure__ or ()), *(forward.__defaults__ or ()))
    return any(_is_module(value) for value in held)


def _is_module(value: Any) -> bool:
    return isinstance(value, nn.Module) or isinstance(getattr(value, "__self__", None), nn.Module)
