"""Channels as ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.planning.channel_ranges import read_channels, write_channels


@given(st.sets(st.integers(0, 63), min_size=1))
def test_what_is_written_reads_back(channels: set[int]) -> None:
    """Any set of channels survives being written as ranges."""
    assert read_channels(write_channels(sorted(channels)), 64) == tuple(sorted(channels))


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        ("0-64", "0-63"),
        ("5,4", "4,5"),
        ("3,3", "3,5"),
        ("7-5", "5-7"),
        ("", "0"),
        ("1-", "1-2"),
        ("-1", "1"),
        ("x", "9"),
    ],
)
def test_other_texts_are_refused(text: str, twin: str) -> None:
    """Channels that are not there, twice there or out of order are refused, as is what is no range."""
    with pytest.raises(ValueError, match="channels"):
        read_channels(text, 64)
    assert read_channels(twin, 64)


def test_neighbours_become_one_range() -> None:
    """Runs are shown as ranges, single channels as numbers."""
    assert write_channels([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
