"""Whose channels a value of the graph holds, and which channels are tied to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from convsurgeon.survey.streams import Carrier, CarrierKind, Producer, Reader, Stream

__all__ = ["Dim", "Group", "NotUnderstood", "Outside", "Shape", "Value", "join"]


class NotUnderstood(Exception):
    """What an operation does to the channels it reads can't be followed; says why, as what happens to a stream."""


@dataclass(eq=False)
class Group:
    """Channels that one producer writes; groups that are tied point to one that holds the members of all."""

    channels: int
    producers: list[Producer] = field(default_factory=list)
    carriers: list[Carrier] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    closed: str | None = None
    tied_to: Group | None = None

    def root(self) -> Group:
        """The group that holds the members."""
        group = self
        while group.tied_to is not None:
            group = group.tied_to
        return group

    def close(self, reason: str) -> None:
        """No channel may be taken away; the first reason stands."""
        root = self.root()
        root.closed = root.closed or reason

    def tie(self, other: Group) -> None:
        """Both keep the same channels from now on."""
        one, two = self.root(), other.root()
        if one is not two:
            two.tied_to = one
            one.producers += two.producers
            one.carriers += two.carriers
            one.readers += two.readers
            one.closed = one.closed or two.closed

    def stream(self, order: Mapping[str, int]) -> Stream:
        """The group as plain data, all of its members in the order in which they run."""
        root = self.root()
        producers = _sorted(root.producers, order)
        closed = root.closed
        if closed is None and not root.readers:
            closed = "nothing reads it"
        if closed is None and root.channels == 1:
            closed = "it has a single channel"
        return Stream(
            producers[0].name,
            root.channels,
            producers,
            _sorted(root.carriers, order),
            _sorted(root.readers, order),
            closed,
        )


M = TypeVar("M", Producer, Carrier, Reader)


def _sorted(members: Iterable[M], order: Mapping[str, int]) -> tuple[M, ...]:
    return tuple(sorted(dict.fromkeys(members), key=lambda member: order[member.name]))


@dataclass(frozen=True)
class Outside:
    """Channels of no stream, whose number is not known; ``what`` says what they are."""

    what: str


Piece: TypeAlias = Group | Outside


@dataclass(frozen=True)
class Value:
    """A tensor whose ``axis`` (of ``rank``) holds the channels of the pieces, one piece behind the other.

    ``span`` is the number of entries of each channel on that axis: 1, or what flattening a map has made of it (None
    where the map's size is not known). ``single``: all other axes but the batch have one entry.
    """

    pieces: tuple[Piece, ...]
    axis: int
    rank: int
    span: int | None = 1
    single: bool = False

    def groups(self) -> tuple[Group, ...]:
        """The pieces that belong to streams."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Group))

    def close(self, reason: str) -> None:
        """Close all streams in it."""
        for group in self.groups():
            group.close(reason)

    def channels_of(self, other: Value) -> bool:
        """Whether both hold the same channels, in the same order."""
        return [*map(_origin, self.pieces)] == [*map(_origin, other.pieces)]

    def width(self) -> int | None:
        """The number of channels, None where that of some piece is not known."""
        widths = [_width(piece) for piece in self.pieces]
        return None if None in widths else sum(width or 0 for width in widths)

    def offsets(self, channels: int) -> list[tuple[Group, int]]:
        """Each stream's piece, and how many of the ``channels`` stand before it. One unknown width follows from them.

        Raises:
            NotUnderstood: the widths don't add up.
        """
        widths = [_width(piece) for piece in self.pieces]
        if widths.count(None) == 1:
            widths[widths.index(None)] = channels - sum(width or 0 for width in widths)
        found, before = [], 0
        for piece, width in zip(self.pieces, widths, strict=True):
            if width is None or width < 0:
                raise NotUnderstood("it is concatenated with channels whose number is not known")
            if isinstance(piece, Group):
                found.append((piece, before))
            before += width
        if before != channels:
            raise NotUnderstood(f"a layer with {channels} channels reads {before} there")
        return found

    def carried(self, name: str, kind: CarrierKind, channels: int) -> None:
        """A module with parameters for each of its ``channels`` passes the value on."""
        for group, offset in self.offsets(channels):
            group.root().carriers.append(Carrier(name, kind, offset))

    def read(self, name: str, entries: int) -> None:
        """A module that mixes channels reads the value, on an axis of so many entries.

        Raises:
            NotUnderstood: the entries can't be told apart by channel.
        """
        span = self.span
        if span is None:
            width = self.width()
            if not width or entries % width:
                raise NotUnderstood(f"'{name}' reads it flattened, with other channels whose number is not known")
            span = entries // width
        for group, offset in self.offsets(entries // span):
            group.root().readers.append(Reader(name, offset, span))


@dataclass(frozen=True)
class Shape:
    """The shape of a value, read by the forward, or a part of it.

    ``axes`` are the value's axes whose sizes are in it; None where the value is `Outside`, whose rank is not known.
    """

    value: Value | Outside
    axes: tuple[int, ...] | None

    def counted(self) -> Value | None:
        """The value whose channels it counts, among others."""
        return self.value if isinstance(self.value, Value) and self.value.axis in (self.axes or ()) else None


@dataclass(frozen=True)
class Dim:
    """The number of entries on an axis of a value, read by the forward."""

    value: Value | Outside
    axis: int

    def counted(self) -> Value | None:
        """The value whose channels it counts."""
        return self.value if isinstance(self.value, Value) and self.axis == self.value.axis else None


def _width(piece: Piece) -> int | None:
    return piece.channels if isinstance(piece, Group) else None


def _origin(piece: Piece) -> Piece:
    return piece.root() if isinstance(piece, Group) else piece


def join(values: Sequence[Value], outside: Sequence[Outside]) -> Value:
    """What an elementwise operation on all of them gives: their channels are tied, piece by piece.

    Raises:
        NotUnderstood: they are not cut into the same pieces.
    """
    first = max(values, key=lambda value: value.width() or 0)
    for other in values:
        if other is not first:
            _tie(first, other)
    for stranger in outside:
        first.close(f"it is combined with {stranger.what}")
    return replace(first, single=not outside and all(value.single for value in values))


def _tie(one: Value, other: Value) -> None:
    if (one.rank, one.axis) != (other.rank, other.axis):
        raise NotUnderstood("it is combined with a value of other axes")
    if other.width() == 1 != one.width():
        # A map of one channel, as spatial attention has it, acts on all channels alike.
        other.close("its one channel acts on all channels of another stream")
        return
    if one.span != other.span or [*map(_width, one.pieces)] != [*map(_width, other.pieces)]:
        raise NotUnderstood("it is combined with channels of other layers that are put together in another way")
    for mine, theirs in zip(one.pieces, other.pieces, strict=True):
        if isinstance(mine, Group) and isinstance(theirs, Group):
            mine.tie(theirs)
        elif isinstance(mine, Group) and isinstance(theirs, Outside):
            mine.close(f"it is combined with {theirs.what}")
        elif isinstance(mine, Outside) and isinstance(theirs, Group):
            theirs.close(f"it is combined with {mine.what}")
