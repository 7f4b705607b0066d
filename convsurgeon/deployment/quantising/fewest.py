"""The fewest of ranked things that have to be taken until something holds."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["fewest"]


def fewest(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least number up to ``most`` that is found to hold: doubled until one does, then halved back to one that does.

    None where ``most`` does not hold either. It is known that 0 does not; larger numbers are taken to hold where a
    smaller one does, so that a lucky smaller one between two that don't may be missed.
    """
    failing, trying = 0, 1
    while not holds(trying := min(trying, most)):
        if trying == most:
            return None
        failing, trying = trying, 2 * trying
    while trying - failing > 1:
        middle = (failing + trying) // 2
        if holds(middle):
            trying = middle
        else:
            failing = middle
    return trying
