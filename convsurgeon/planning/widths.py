"""What streams of channels may keep, and what that makes of the layers at their ends."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
        # By layer: a width's name, the number of a stream in it, inputs and outputs for each of its channels.
        self._ends: dict[str, list[tuple[str, int, int, int]]] = defaultdict(list)
        for one in widths:
            for number, stream in enumerate(one.streams):
                for layer, each_in, each_out in stream.ends:
                    self._ends[layer].append((one.name, number, each_in, each_out))

    def of(self, layer: str) -> tuple[str, ...]:
        """The names of the widths at a layer's ends, sorted."""
        return tuple(sorted({name for name, *_ in self._ends.get(layer, ())}))

    def labels(self, layer: str) -> Iterator[Labels]:
        """Every combination of widths at a layer's ends, all channels first."""
        names = self.of(layer)
        for numbers in itertools.product(*(range(len(self._widths[name].kept)) for name in names)):
            yield tuple(zip(names, numbers, strict=True))

    def gone(self, layer: str, labels: Labels) -> tuple[int, int]:
        """How many inputs and how many outputs a layer loses."""
        chosen, inputs, outputs = dict(labels), 0, 0
        for name, number, each_in, each_out in self._ends.get(layer, ()):
            lost = self._widths[name].gone(chosen[name])[number]
            inputs, outputs = inputs + lost * each_in, outputs + lost * each_out
        return inputs, outputs


def narrowed_site(site: Site, gone: tuple[int, int]) -> Site:
    """The convolution without so many input and output channels, and what it then costs."""
    if gone == (0, 0):
        return site
    cost = narrowed_conv_cost(site.cost, site.shape, gone, site.positions)
    return replace(site, shape=narrowed_shape(site.shape, gone), cost=cost)
