"""Dropping: the layers of a residual branch are taken out, and one 1×1 convolution stands in for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UnknownName
from convsurgeon.base.generators import seeded
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.torch_convs import Conv, plain_conv
from convsurgeon.survey.streams import Block, Stream

__all__ = ["Copy", "branch_parameters", "carried_in", "left_out"]


class Copy(nn.Module):
    """What it reads [N, C, …], as a tensor of its own: an activation that works in place may stand behind it."""

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers."""
        return x.clone()


def left_out(model: nn.Module, block: Block, left: ConvShape) -> dict[nn.Module, nn.Module]:
    """What takes the place of each part of a branch for which a convolution of shape ``left`` stands in.

    The convolution gives zeros, as if the branch were not there; device, dtype and ``requires_grad`` are the branch's.

    Raises:
        UnknownName: a branch of another model.
    """
    parts = [_find(model, block, name) for name in block.parts]
    weights = [parameter for part in parts for parameter in part.parameters()]
    unit = _zeros(left).to(weights[0].device, weights[0].dtype)
    unit.requires_grad_(any(weight.requires_grad for weight in weights))
    instead: dict[nn.Module, nn.Module] = {part: nn.Identity() for part in parts}
    if block.activates:
        instead[parts[0]] = Copy()
    instead[parts[-1]] = unit
    return {part: new.train(part.training) for part, new in instead.items()}


def branch_parameters(model: nn.Module, block: Block, priced: Collection[str]) -> int:
    """How many parameters go with a branch beside those of the layers that are ``priced`` by themselves.

    Raises:
        UnknownName: a branch of another model.
    """
    own = {id(one): one.numel() for name in block.parts for one in _find(model, block, name).parameters()}
    layers = (model.get_submodule(name) for name in block.modules if name in priced)
    return sum(own.values()) - sum(own.get(id(one), 0) for layer in layers for one in layer.parameters())


def carried_in(model: nn.Module, block: Block, streams: Iterable[Stream]) -> dict[str, int]:
    """How many parameters norms and slopes of a branch hold for each channel of a stream, by the stream's name."""
    counts = {
        stream.name: sum(
            len(list(_find(model, block, carrier.name).parameters()))
            for carrier in stream.carriers
            if carrier.kind != "depthwise" and carrier.name in block.modules
        )
        for stream in streams
    }
    return {name: count for name, count in counts.items() if count}


def _zeros(shape: ConvShape) -> Conv:
    # A caller's generator must not move on for weights that are zeros.
    with seeded(0), torch.no_grad():
        unit = plain_conv(shape)
        for parameter in unit.parameters():
            parameter.zero_()
    return unit


def _find(model: nn.Module, block: Block, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise UnknownName(
            f"residual branch '{block.name}' has a layer '{name}', where this model has nothing."
        ) from None
