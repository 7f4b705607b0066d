"""What streams of channels may keep, and what that makes of the layers at their ends."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from convsurgeon.families.cost import Cost
from convsurgeon.planning.narrow_shapes import narrowed_conv_cost, narrowed_shape
from convsurgeon.survey.sites import Site
from convsurgeon.survey.streams import Stream

__all__ = ["Ends", "Labels", "Widths", "narrowed_site"]

# Which width of each set of streams is meant: (name, number) pairs.
Labels = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Widths:
    """What ``streams`` that change together may keep: ``kept[width][stream]`` are channels, ascending.

    Width 0 keeps all of them; the sets are nested. ``damages`` are what each width hurts at the readers;
    ``carried`` the parameters that carriers (norms) hold for each channel of each stream.
    """

    streams: tuple[Stream, ...]
    kept: tuple[tuple[tuple[int, ...], ...], ...]
    damages: tuple[float, ...]
    carried: tuple[int, ...]

    @property
    def name(self) -> str:
        """The first stream's."""
        return self.streams[0].name

    def gone(self, width: int) -> tuple[int, ...]:
        """How many channels of each stream a width takes away."""
        return tuple(s.channels - len(kept) for s, kept in zip(self.streams, self.kept[width], strict=True))

    def cost(self, width: int) -> Cost:
        """What the norms of the streams lose, as a cost below zero."""
        gone = zip(self.gone(width), self.carried, strict=True)
        return Cost(0, -sum(channels * params for channels, params in gone))


class Ends:
    """Which of the ``widths`` each layer reads and writes, by the layer's name."""

    def __init__(self, widths: Sequence[Widths]) -> None:
        self._widths = {one.name: one for one in widths}
        self._reads: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        self._writes: dict[str, tuple[str, int]] = {}
        for one in widths:
            for number, stream in enumerate(one.streams):
                self._note(one.name, number, stream)

    def _note(self, name: str, number: int, stream: Stream) -> None:
        for producer in stream.producers:
            self._writes[producer.name] = (name, number)
        for reader in stream.readers:
            self._reads[reader.name].append((name, number, reader.span))
        for carrier in stream.carriers:
            if carrier.kind == "depthwise":
                self._writes[carrier.name] = (name, number)
                self._reads[carrier.name].append((name, number, 1))

    def of(self, layer: str) -> tuple[str, ...]:
        """The names of the widths at a layer's ends, sorted."""
        written = [self._writes[layer][0]] if layer in self._writes else []
        return tuple(sorted({*written, *(name for name, _, _ in self._reads.get(layer, ()))}))

    def labels(self, layer: str) -> Iterator[Labels]:
        """Every combination of widths at a layer's ends, all channels first."""
        names = self.of(layer)
        for numbers in itertools.product(*(range(len(self._widths[name].kept)) for name in names)):
            yield tuple(zip(names, numbers, strict=True))

    def gone(self, layer: str, labels: Labels) -> tuple[int, int]:
        """How many inputs and how many outputs a layer loses."""
        picked: Mapping[str, tuple[int, ...]] = {name: self._widths[name].gone(number) for name, number in labels}
        inputs = sum(picked[name][number] * span for name, number, span in self._reads.get(layer, ()))
        outputs = 0
        if layer in self._writes:
            name, number = self._writes[layer]
            outputs = picked[name][number]
        return inputs, outputs


def narrowed_site(site: Site, gone: tuple[int, int]) -> Site:
    """The convolution without so many input and output channels, and what it then costs."""
    if gone == (0, 0):
        return site
    cost = narrowed_conv_cost(site.cost, site.shape, gone, site.positions)
    return replace(site, shape=narrowed_shape(site.shape, gone), cost=cost)
