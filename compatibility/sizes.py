"""How large an input is: the size the library means, or a smaller one where that is too dear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from compatibility.subjects import Subject
from compatibility.witness import Ran, ran

__all__ = ["Sized", "resize", "run_at", "sized"]


@dataclass(frozen=True)
class Sized:
    """The side and inputs chosen, what the original returned for them, and the smallest side that runs."""

    side: int
    inputs: Any
    original: Ran
    smallest: int


def sized(model: nn.Module, subject: Subject, most_macs: int) -> Sized:
    """The largest side under ``most_macs``, or the smallest one that runs. MACs are taken to grow with the area.

    Raises:
        Exception: what the network raises at its native side, where it runs at none.
    """
    base, least = _smallest(model, subject)
    for side in subject.sides:
        if side <= least or base.macs * (side / least) ** 2 > most_macs:
            continue
        try:
            return Sized(side, subject.inputs(1, side), run_at(model, subject, side), least)
        except Exception:
            # Any forward may refuse a size in any words; a smaller one is tried.
            continue
    return Sized(least, subject.inputs(1, least), run_at(model, subject, least), least)


def _smallest(model: nn.Module, subject: Subject) -> tuple[Ran, int]:
    for side in reversed(subject.sides[1:]):
        try:
            return run_at(model, subject, side), side
        except Exception:
            # As above; the native side is the last resort, and its error the one to report.
            continue
    return run_at(model, subject, subject.sides[0]), subject.sides[0]


def run_at(model: nn.Module, subject: Subject, side: int) -> Ran:
    """Run the network on one input of that side."""
    resize(subject, model, side)
    return ran(model, subject.inputs(1, side))


def resize(subject: Subject, model: nn.Module, side: int) -> None:
    """Tell a network that resizes its inputs itself."""
    if subject.sized is not None:
        subject.sized(model, side)
