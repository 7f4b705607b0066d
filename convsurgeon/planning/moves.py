"""What a plan may do to a network, as words: ``swap,narrow,streams,drop``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal, get_args

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from convsurgeon.base.errors import UnknownName, UsageError, did_you_mean
from convsurgeon.planning.words import read_or_value_error

__all__ = ["CALIBRATED_MOVES", "MOVES", "SWAPS_ALONE", "Move", "MovesField", "parse_moves"]

# swap: another unit in a convolution's place. narrow: fewer channels from one layer to the next. streams: fewer
# channels where several layers write into the same ones (residual stages). drop: residual branches are left out.
Move = Literal["swap", "narrow", "streams", "drop"]
MOVES: tuple[Move, ...] = get_args(Move)
SWAPS_ALONE: tuple[Move, ...] = ("swap",)
# Where damage can be measured: as little error or less at equal MACs on most networks that were tried (docs/moves.md).
CALIBRATED_MOVES: tuple[Move, ...] = ("swap", "narrow", "streams")


def parse_moves(given: str | Iterable[str]) -> tuple[Move, ...]:
    """Read moves, in their own order.

    Raises:
        UnknownName: a word that is no move.
        UsageError: none at all.
    """
    words = [word.strip() for part in ([given] if isinstance(given, str) else given) for word in part.split(",")]
    for word in words:
        if word not in MOVES:
            raise UnknownName(f"unknown move '{word}'; expected {', '.join(MOVES)}.{did_you_mean(word, MOVES)}")
    if not words:
        raise UsageError(f"no moves are given; expected at least one of {', '.join(MOVES)}.")
    return tuple(move for move in MOVES if move in words)


MovesField = Annotated[
    tuple[Move, ...],
    PlainValidator(partial(read_or_value_error, parse_moves)),
    PlainSerializer(list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
