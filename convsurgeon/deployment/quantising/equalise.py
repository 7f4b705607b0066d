"""Ranges equalised across two convolutions, without a change of what they compute.

Between the two convolutions of a unit nothing stands, so that a channel may be divided by any number there that the
second convolution's weights take up. One scale serves all channels of a tensor in int8: where one is a hundred times
as large as another, the other is left with two steps. (Nagel et al. 2019, arXiv 1906.04721, equalise weights, across
activations; with weights rounded for each channel it is the ranges between that count.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import observed

__all__ = ["equalised"]

# Channels are scaled by no more than this, so that none that is all but silent takes part with its noise alone.
_MOST = 1e3
_SILENT = 1e-6


def equalised(network: nn.Module, batches: Iterable[Inputs]) -> nn.Module:
    """A copy whose channels between two convolutions in a row have equal ranges on these inputs; its outputs stay."""
    copy = duplicate(network).eval()
    pairs = list(_in_a_row(copy))
    ranges = [torch.zeros(first.out_channels) for first, _ in pairs]
    seen = [(first, _widening(ranges[i])) for i, (first, _) in enumerate(pairs)]
    with torch.no_grad(), observed(after=seen):
        for inputs in batches:
            inputs.call(copy)
    for (first, second), largest in zip(pairs, ranges, strict=True):
        _rescale(first, second, _scales(largest))
    return copy


def _in_a_row(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.Conv2d]]:
    """Convolutions that a chain calls one after the other; such as are used elsewhere, too, are left out."""
    uses = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    owners = Counter(id(p) for module in network.modules() for p in module.parameters(recurse=False))

    def alone(conv: nn.Conv2d) -> bool:
        return uses[id(conv)] == 1 and all(owners[id(parameter)] == 1 for parameter in conv.parameters())

    for chain in network.modules():
        # A class made from it may do otherwise.
        if type(chain) is not nn.Sequential:
            continue
        for first, second in pairwise(chain):
            if type(first) is nn.Conv2d and type(second) is nn.Conv2d and alone(first) and alone(second):
                yield first, second


def _widening(largest: Tensor) -> Callable[..., None]:
    def see(_args: object, _kwargs: object, output: Any) -> None:
        torch.maximum(largest, output.detach().abs().amax((0, 2, 3)).float(), out=largest)

    return see


def _scales(largest: Tensor) -> Tensor:
    """What each channel is divided by: its range, around a mean of 1; silent channels stay."""
    loud = largest > _SILENT * largest.amax().clamp_min(_SILENT)
    if not loud.any():
        return torch.ones_like(largest)
    mean = largest[loud].log().mean().exp()
    return torch.where(loud, largest / mean, 1.0).clamp(1 / _MOST, _MOST)


def _rescale(first: nn.Conv2d, second: nn.Conv2d, scales: Tensor) -> None:
    with torch.no_grad():
        first.weight /= scales.view(-1, 1, 1, 1)
        if first.bias is not None:
            first.bias /= scales
        groups = second.groups
        # [out, in / groups, k, k] as [groups, out / groups, in / groups, k, k]: each group has inputs of its own.
        by_group = second.weight.view(groups, -1, *second.weight.shape[1:])
        by_group *= scales.view(groups, 1, -1, 1, 1)
