"""Copies of models: deep ones, with modules exchanged on the way, and weightless ones."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import INTERRUPTIONS, ModelLoadError, first_line, named_first_line

__all__ = ["duplicate", "in_eval_mode", "shadow"]


def duplicate(model: nn.Module, instead: Mapping[nn.Module, nn.Module] | None = None) -> nn.Module:
    """A deep copy, in which the keys of ``instead`` are replaced by their values wherever something refers to them.

    Raises:
        ModelLoadError: the model can't be copied, e.g. because it holds a tensor with history.
    """
    return _deepcopy(model, {id(old): new for old, new in (instead or {}).items()})


def shadow(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters and buffers live on the meta device: no weight is ever copied."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return in_eval_mode(_deepcopy(model, memo))


def in_eval_mode(model: nn.Module) -> nn.Module:
    """The model itself, after its ``eval``, which may be code of its own.

    Raises:
        ModelLoadError: that fails, e.g. because a module is inside of itself.
    """
    try:
        return model.eval()
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        inside = " One of its modules is inside of itself; keep it in a list there, not as a child."
        exported = " An exported program can't be edited: pass the Python model it came from."
        hints: dict[type[BaseException], str] = {RecursionError: inside, NotImplementedError: exported}
        hint = hints.get(type(error), "")
        raise ModelLoadError(f"the model can't be put into eval mode: {named_first_line(error)}.{hint}") from error


def _deepcopy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, memo)
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        holders = [
            name or type(module).__name__
            for name, module in model.named_modules()
            if any(isinstance(v, torch.Tensor) and v.grad_fn is not None for v in vars(module).values())
        ]
        where = f" ({', '.join(itertools.islice(holders, 3))} hold tensors with gradient history)" if holders else ""
        raise ModelLoadError(
            f"the model can't be copied: {first_line(error)}{where}. "
            "Surgery works on a copy; detach such tensors, or remove old-style weight_norm (remove_weight_norm) and "
            "pruning masks (prune.remove) first."
        ) from error
