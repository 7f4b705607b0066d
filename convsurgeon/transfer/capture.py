"""Runs of a model that watch some of its modules, and stop as soon as they have seen enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import After, SeenEnough, observed
from convsurgeon.transfer.layers import as_map

__all__ = ["evaluating", "site_calls", "watch", "watch_first"]

Watcher = Callable[[Tensor, Tensor], None]


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; every module's ``training`` flag comes back afterwards."""
    flags = [(module, module.training) for model in models for module in model.modules()]
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training


def watch(model: nn.Module, watchers: Mapping[str, Watcher], inputs: Inputs) -> Any:
    """Run the model once; each watcher gets ``(x, y)`` of every call of its module, whatever runs afterwards.

    Both are maps with the channels on axis 1, also of a linear layer (see `as_map`). The tensors are the model's own: a
    watcher copies what it keeps.
    """
    watched = [(model.get_submodule(name), watcher) for name, watcher in watchers.items()]
    with observed(after=[(module, _reader(module, watcher)) for module, watcher in watched]):
        return inputs.call(model)


def watch_first(model: nn.Module, watchers: Mapping[str, Watcher], calls: Mapping[str, int], inputs: Inputs) -> None:
    """As `watch`, for the first ``calls[name]`` calls of each module; the forward pass ends with the last of them."""
    left = {name: calls[name] for name in watchers if calls[name]}

    def counted(name: str) -> Watcher:
        def read(x: Tensor, y: Tensor) -> None:
            watchers[name](x, y)
            left[name] -= 1
            if not any(left.values()):
                raise SeenEnough

        return read

    if left:
        with suppress(SeenEnough):
            watch(model, {name: counted(name) for name in left}, inputs)


def _reader(module: nn.Module, watcher: Watcher) -> After:
    def read(args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        watcher(as_map(module, _first(args, kwargs)), as_map(module, output))

    return read


def site_calls(model: nn.Module, name: str, inputs: Inputs, calls: int) -> list[Tensor]:
    """The inputs of the first ``calls`` calls of one module, as maps; the forward pass ends there."""
    seen: list[Tensor] = []
    module = model.get_submodule(name)

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # What runs between two calls may write into the first one's input; the last one's is safe.
        x = as_map(module, _first(args, kwargs))
        seen.append(x if len(seen) + 1 == calls else x.clone())
        if len(seen) == calls:
            raise SeenEnough

    if calls == 0:
        return seen
    with observed(before=[(module, read)]), suppress(SeenEnough):
        inputs.call(model)
    return seen


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    value = args[0] if args else next(iter(kwargs.values()))
    return value if isinstance(value, Tensor) else torch.as_tensor(value)
