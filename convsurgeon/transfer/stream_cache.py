"""What was measured of streams, kept for later targets: one file per model, weights, data and settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.planning.channel_ranges import read_channels, write_channels
from convsurgeon.planning.widths import Widths
from convsurgeon.survey.streams import Stream

__all__ = ["StreamCache"]

VERSION = 1


@dataclass(frozen=True)
class _Estimate:
    """What streams that change together keep at each width, as ranges of channels, and the damage of each width."""

    kept: tuple[tuple[str, ...], ...]
    damages: tuple[FiniteFloat, ...]
    carried: tuple[int, ...]


class StreamCache:
    """Widths by streams that change together; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, key: tuple[str, ...]) -> None:
        self._widths = CacheFile(directory, "streams", (str(VERSION), *key), _Estimate)

    def find(self, streams: tuple[Stream, ...]) -> Widths | None:
        """What was measured of the same streams; None for others."""
        found = self._widths.entries.get(streams[0].name, {}).get(_key(streams))
        if found is None:
            return None
        channels = [stream.channels for stream in streams]
        kept = tuple(tuple(map(read_channels, row, channels)) for row in found.kept)
        return Widths(streams, kept, found.damages, found.carried)

    def add(self, widths: Widths) -> None:
        """Keep widths."""
        kept = tuple(tuple(map(write_channels, row)) for row in widths.kept)
        found = _Estimate(kept, widths.damages, widths.carried)
        self._widths.add(widths.name, {_key(widths.streams): found})


def _key(streams: tuple[Stream, ...]) -> str:
    return hashlib.sha256(repr(streams).encode()).hexdigest()[:16]
