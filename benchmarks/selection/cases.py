"""Streams of channels, and the linear problems of the layers that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convsurgeon import inspect
from convsurgeon.base.copies import duplicate
from convsurgeon.families.regression.gathering import Gathering
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.problems import linears_of, unknowns_of
from convsurgeon.families.regression.samples import Sampler
from convsurgeon.survey.streams import Stream
from convsurgeon.transfer.calibration import Calibration
from convsurgeon.transfer.capture import evaluating, watch_first
from convsurgeon.transfer.elimination import ReadBlock
from convsurgeon.transfer.fit import ridge_for
from convsurgeon.transfer.layers import as_conv
from convsurgeon.transfer.traffic import Traffic, count_traffic

__all__ = ["Case", "Reading", "cases"]


@dataclass(frozen=True)
class Reading:
    """A layer that reads a stream: its linear problem, and where the stream's channels are in it."""

    name: str
    site: LinearSite
    blocks: tuple[ReadBlock, ...]

    def columns(self, block: ReadBlock, channels: Tensor) -> Tensor:
        """Where each of the channels [n] is read [n, each]."""
        return block.start + channels[:, None] * block.each + torch.arange(block.each)

    def left(self, kept: Tensor, channels: int) -> Tensor:
        """The columns that are left of the linear problem, ascending."""
        stays = torch.ones(self.site.original.weight.shape[1], dtype=torch.bool)
        for block in self.blocks:
            stays[self.columns(block, torch.arange(channels)).flatten()] = False
            stays[self.columns(block, kept).flatten()] = True
        return stays.nonzero().flatten()


@dataclass(frozen=True)
class Case:
    """One stream and all layers that read it."""

    stream: Stream
    readings: tuple[Reading, ...]

    @property
    def every(self) -> Tensor:
        """All channels."""
        return torch.arange(self.stream.channels)

    def gram(self) -> Tensor:
        """Covariance of the channels [C, C], over all places where they are read."""
        total = torch.zeros(self.stream.channels, self.stream.channels)
        for reading, block in self._read():
            for place in reading.columns(block, self.every).T:
                total += reading.site.moments.uu[place[:, None], place]
        return total

    def strongest(self, score: Callable[[Reading, Tensor], Tensor], count: int) -> Tensor:
        """The channels of the highest scores, summed over readers; ``score`` is given their columns [C, each]."""
        scores = sum(score(reading, reading.columns(block, self.every)) for reading, block in self._read())
        return torch.as_tensor(scores).argsort(descending=True, stable=True)[:count].sort().values

    def _read(self) -> Iterator[tuple[Reading, ReadBlock]]:
        return ((reading, block) for reading in self.readings for block in reading.blocks)


def cases(model: nn.Module, batches: Sequence[Tensor], seed: int) -> list[Case]:
    """Every open stream, and the linear problems of the layers that read it."""
    streams = [stream for stream in inspect(model, batches[0][:1]).streams if stream.closed is None]
    names = dict.fromkeys(reader.name for stream in streams for reader in stream.readers)
    sites = _sites(duplicate(model), list(names), batches, seed)
    found = []
    for stream in streams:
        readers = dict.fromkeys(reader.name for reader in stream.readers)
        readings = tuple(Reading(name, sites[name], _blocks(model, stream, name)) for name in readers)
        found.append(Case(stream, readings))
    return found


def _sites(model: nn.Module, names: list[str], batches: Sequence[Tensor], seed: int) -> dict[str, LinearSite]:
    """One pass over the images. A norm behind each layer, or its own bias, takes up the mean."""
    data = Calibration.of(batches)
    with evaluating(model):
        traffic = count_traffic(model, names, data.fitting(model))
        gatherers = {name: _Gatherer(model.get_submodule(name), traffic[name], seed) for name in names}
        for number, inputs in enumerate(data.fitting(model)):
            watch_first(model, gatherers, {name: traffic[name].calls[number] for name in names}, inputs)
    return {name: gatherer.site() for name, gatherer in gatherers.items()}


class _Gatherer:
    """What one layer reads and writes, sampled call by call."""

    def __init__(self, layer: nn.Module, traffic: Traffic, seed: int) -> None:
        conv, shape = as_conv(layer)
        self._unknowns = unknowns_of(shape)
        self._gathering = Gathering(shape, *linears_of(conv, shape))
        self._sampler = Sampler(traffic.images, traffic.positions, self._unknowns, seed, held_out=True)

    def __call__(self, x: Tensor, y: Tensor) -> None:
        self._gathering.add(self._sampler.sample(x, y))

    def site(self) -> LinearSite:
        (collected,) = self._gathering.collected()
        return LinearSite.of(collected, ridge_for(collected.fitted.count, self._unknowns), centred=True)


def _blocks(model: nn.Module, stream: Stream, name: str) -> tuple[ReadBlock, ...]:
    area = as_conv(model.get_submodule(name))[1].area
    readers = [reader for reader in stream.readers if reader.name == name]
    return tuple(ReadBlock(0, reader.offset * reader.span * area, reader.span * area) for reader in readers)
