"""A trained network as the caller's was: where it lives, in which number format, in which mode, what is frozen."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["in_given_state"]


def in_given_state(model: nn.Module, network: nn.Module) -> nn.Module:
    """Device, dtypes, modes and frozen flags of the network that was given.

    What a callback built anew, and is in no tensor of that network, follows the module that it stands in.
    """
    first = next(network.parameters(), torch.empty(0))
    model = model.to(first.device)
    given = network.state_dict(keep_vars=True)
    for name, tensor in model.state_dict(keep_vars=True).items():
        like = given[name] if name in given else _stood_at(network, name)
        if not isinstance(tensor, torch.Tensor):
            continue
        tensor.grad = None
        if isinstance(like, torch.Tensor) and like.is_floating_point() == tensor.is_floating_point():
            tensor.data = tensor.data.to(like.dtype)
            tensor.requires_grad_(like.requires_grad and isinstance(tensor, nn.Parameter))
    modes = {name: module.training for name, module in network.named_modules()}
    for name, module in model.named_modules():
        module.training = modes[next(place for place in _places(name) if place in modes)]
    return model


def _stood_at(network: nn.Module, name: str) -> torch.Tensor | None:
    """The first parameter of the innermost module that a tensor of this name would stand in."""
    modules = dict(network.named_modules())
    return next(modules[next(place for place in _places(name) if place in modules)].parameters(), None)


def _places(name: str) -> Iterator[str]:
    """A qualified name and those of everything around it, the whole (an empty name) last."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""
