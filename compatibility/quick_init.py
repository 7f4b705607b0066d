"""Random weights without the price of good ones: what is matter here are shapes, not how a network would train."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["quick_init"]

_DEAR = (
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "orthogonal_",
    "trunc_normal_",
    "xavier_normal_",
    "xavier_uniform_",
)


@contextmanager
def quick_init() -> Iterator[None]:
    """Let torch.nn.init's dear functions draw from one cheap uniform distribution while a network is built.

    Its variance is 1 / fan-in, so that deep networks stay finite. Libraries with initialisers of their own keep them.
    """
    before: dict[str, Callable[..., Any]] = {name: getattr(nn.init, name) for name in _DEAR}
    try:
        for name in _DEAR:
            setattr(nn.init, name, _uniform)
        yield
    finally:
        for name, function in before.items():
            setattr(nn.init, name, function)


def _uniform(tensor: Tensor, *_args: Any, **_settings: Any) -> Tensor:
    fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else max(1, tensor.numel())
    bound = math.sqrt(3 / fan_in)
    with torch.no_grad():
        return tensor.uniform_(-bound, bound)
