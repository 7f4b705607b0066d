"""The optimiser: new and old parameters at rates of their own, warm-up and cosine as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from convsurgeon.base.errors import UsageError
from convsurgeon.recovery.callback import Callback, ParameterGroup
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.recovery.sites import Sites

__all__ = ["load_optimiser", "make_optimiser", "optimiser_state", "rate", "set_rates"]


def make_optimiser(
    model: nn.Module, sites: Sites, settings: RecoverSettings, callbacks: Sequence[Callback] = ()
) -> tuple[Optimizer, list[nn.Parameter]]:
    """The optimiser and the parameters that it moves; frozen ones are left out.

    Raises:
        UsageError: no parameter learns.
    """
    own = [group for callback in callbacks for group in callback.parameters()]
    taken = {id(p) for group in own for p in group.parameters}
    free = [(name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) not in taken]
    new = [p for name, p in free if sites.holds(name)]
    old = [p for name, p in free if not sites.holds(name)] if settings.lr_old else []
    groups = [
        *_groups("new", new, settings.lr_new, settings.weight_decay),
        *_groups("old", old, settings.lr_old, settings.weight_decay),
        *own,
    ]
    moved = [p for group in groups for p in group.parameters]
    if not moved:
        raise UsageError("there is nothing to train: every parameter of the converted network is frozen.")
    described = [
        {"params": list(g.parameters), "lr": g.lr, "peak": g.lr, "weight_decay": g.weight_decay} for g in groups
    ]
    if settings.optimizer == "sgd":
        return SGD(described, lr=settings.lr_new, momentum=0.9, nesterov=True), moved
    return AdamW(described, lr=settings.lr_new), moved


def _groups(name: str, parameters: Sequence[nn.Parameter], lr: float, decay: float) -> Iterable[ParameterGroup]:
    """Weights decay; biases and the norms' scales, which have one axis, do not."""
    for label, wide in ((name, True), (f"{name}, without decay", False)):
        chosen = tuple(p for p in parameters if (p.dim() > 1) == wide)
        if chosen:
            yield ParameterGroup(label, chosen, lr, decay if wide else 0.0)


def rate(step: int, total: int, warmup: float) -> float:
    """The share of the peak rate at ``step`` (from 0): rising linearly, then falling along a cosine to almost 0."""
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def set_rates(optimizer: Optimizer, share: float) -> None:
    """Every group at this share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def optimiser_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state as tensors by ``NUMBER.NAME``; rates follow from the step and are not part of it."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for number, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def load_optimiser(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the state back, in the memory layout of the parameters, so that sums round as they did."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for at, entries in state.items():
        like = parameters[at]
        for key, tensor in entries.items():
            if tensor.shape == like.shape:
                entries[key] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
