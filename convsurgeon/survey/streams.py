"""Streams and blocks as plain data: the channels that must be cut alike, and the branches that can be left out.

A stream is one set of channels. Whoever writes into it (both sides of an addition, a gate that it is multiplied by),
whoever carries it (a norm's parameter for each channel, a depthwise convolution) and whoever reads it keeps the same
channels of it, in the same order. All names are qualified ones, a module's first in ``named_modules``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "Carrier", "CarrierKind", "Producer", "Reader", "Stream"]

CarrierKind = Literal["norm", "depthwise", "prelu"]


@dataclass(frozen=True)
class Producer:
    """A convolution, a transposed one or a linear layer whose output channels are exactly the stream's."""

    name: str


@dataclass(frozen=True)
class Carrier:
    """A module with parameters for each channel, which passes the channels on one by one.

    The stream's are its channels ``offset`` to ``offset + channels``: a norm behind a concatenation carries several
    streams. ``norm``: batch or instance norm. ``depthwise``: a convolution with one filter a channel. ``prelu``: a
    PReLU with one slope a channel.
    """

    name: str
    kind: CarrierKind
    offset: int


@dataclass(frozen=True)
class Reader:
    """A convolution, a transposed one or a linear layer that mixes the stream's channels.

    Its inputs ``offset * span`` to ``(offset + channels) * span`` are the stream's. ``offset`` counts channels that
    stand before the stream's in a concatenation; ``span`` is the number of entries of each channel, H × W for a linear
    layer behind a flattened map, otherwise 1. A module that reads the stream at two offsets is named twice.
    """

    name: str
    offset: int
    span: int


@dataclass(frozen=True)
class Stream:
    """Channels that must be cut alike; ``name`` is that of the first producer to run.

    Without a channel c in producers, carriers and readers the network computes what it computes where every reader's
    weights for c are 0. ``closed`` says why no channel may be taken away; None if some may.
    """

    name: str
    channels: int
    producers: tuple[Producer, ...]
    carriers: tuple[Carrier, ...]
    readers: tuple[Reader, ...]
    closed: str | None

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all layers that have to do with it."""
        writers = (producer.name for producer in self.producers)
        carriers, readers = (carrier.name for carrier in self.carriers), (reader.name for reader in self.readers)
        return tuple(dict.fromkeys((*writers, *carriers, *readers)))

    @property
    def ends(self) -> tuple[tuple[str, int, int], ...]:
        """Each layer whose shape follows the stream's width, and how many inputs and outputs it has for a channel."""
        depthwise = (carrier.name for carrier in self.carriers if carrier.kind == "depthwise")
        return (
            *((producer.name, 0, 1) for producer in self.producers),
            *((reader.name, reader.span, 0) for reader in self.readers),
            *((name, 1, 1) for name in depthwise),
        )

    @property
    def joined(self) -> bool:
        """Whether several layers write into the same channels, as on both sides of an addition."""
        return len(self.producers) > 1


@dataclass(frozen=True)
class Block:
    """A residual branch f of x + f(x) (or x - f(x)) that leaves the shape of x, so that it can be left out.

    ``name`` is what all names of its modules begin with, or its first module's. ``modules`` are the layers of the
    branch that have weights, as they run, and ``last``; nothing else reads what they give. Where ``last``, one of
    them, gives zeros, so does the branch: behind it come at most activations, dropouts, scalings and changes of
    layout. ``stream`` is the stream that x is, None where it is not exactly one.
    ``closed`` says why it may not be left out; None if it may.

    Of an open block ``parts`` are the largest modules that are called in the branch alone and hold all of its layers,
    as they run. Each maps a tensor to a tensor, and without them nothing but activations and dropouts stays between x
    and the last one's place; ``activates``: something does between the first one's place and the last one's. x has
    ``channels`` on axis 1 of [N, C, …] and ``axes`` behind it; N times these make ``positions`` over all calls.
    """

    name: str
    modules: tuple[str, ...]
    last: str
    stream: str | None
    closed: str | None
    parts: tuple[str, ...] = ()
    activates: bool = False
    channels: int = 0
    axes: int = 0
    positions: int = 0
