"""The oracle of streams: a network without some channels, beside the one whose readers do not hear them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from convsurgeon.survey.streams import Stream

__all__ = ["deafened", "noisy", "some_of"]


def noisy(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode and float64, its weights and statistics such that no two channels are alike."""
    generator = torch.Generator().manual_seed(seed)
    net = net.eval().double()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.dim() == 1:
                tensor.uniform_(-0.5, 1, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return net


def some_of(streams: Iterable[Stream], seed: int = 0) -> dict[Stream, list[int]]:
    """About two thirds of the channels of each open stream."""
    chance = random.Random(seed)
    return {
        stream: sorted(chance.sample(range(stream.channels), max(1, 2 * stream.channels // 3)))
        for stream in streams
        if stream.closed is None
    }


def deafened(net: nn.Module, kept: Mapping[Stream, Sequence[int]]) -> nn.Module:
    """A copy in which every reader's weights for a channel that is not kept are 0."""
    net = copy.deepcopy(net)
    for stream, channels in kept.items():
        for reader in stream.readers:
            weight: Tensor = net.get_submodule(reader.name).weight  # type: ignore[assignment]
            axis = 0 if isinstance(net.get_submodule(reader.name), nn.ConvTranspose2d) else 1
            for channel in set(range(stream.channels)) - set(channels):
                first = (reader.offset + channel) * reader.span
                weight.data.narrow(axis, first, reader.span).zero_()
    return net
