"""Sets of channels as people read and edit them: ``0-15,17,20-31``."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["read_channels", "write_channels"]


def write_channels(channels: Iterable[int]) -> str:
    """Ascending channels as ranges."""
    ranges: list[list[int]] = []
    for channel in channels:
        if ranges and channel == ranges[-1][1] + 1:
            ranges[-1][1] = channel
        else:
            ranges.append([channel, channel])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def read_channels(text: str, count: int) -> tuple[int, ...]:
    """Ascending channels of ``count``.

    Raises:
        ValueError: no ranges, none of the channels, one twice, out of order, or one that is not there.
    """
    channels: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"channels '{text}' can't be read; expected ranges such as 0-15,17")
        start, stop = int(first), int(last) if dash else int(first)
        if stop >= count or start > stop or (channels and start <= channels[-1]):
            raise ValueError(f"channels '{text}': expected ascending ones from 0 to {count - 1}, each once")
        channels.extend(range(start, stop + 1))
    return tuple(channels)
