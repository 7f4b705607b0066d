"""Floors say what a conversion must keep: ``agreement=99%``, ``top1=-0.5`` (points), ``output-error=1%``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from convsurgeon.base.bounds import fewest_for_difference, fewest_for_share
from convsurgeon.base.errors import TargetError

__all__ = ["Floor", "Measure", "counted_agreement", "parse_floors"]

# ``difference`` and ``top1`` look at labels: points of accuracy against the original's, and accuracy itself.
Measure = Literal["agreement", "difference", "top1", "output-error", "score"]

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_POINTS = re.compile(r"-(\d+(?:\.\d+)?)(?:\s*points?)?")


@dataclass(frozen=True)
class Floor:
    """``measure`` must be at least ``limit`` (the output error: at most): a share, or a number in the score's own unit.

    A ``score`` is called with a network and returns a number, of which more is better.
    """

    text: str
    measure: Measure
    limit: float
    score: Callable[[Any], float] | None = None

    @classmethod
    def of_score(cls, score: Callable[[Any], float], least: float) -> Floor:
        """At least ``least`` by any function that scores a network in eval mode; it is believed without a bound."""
        return cls(f"{getattr(score, '__name__', 'score')}={least:g}", "score", float(least), score)

    @property
    def labelled(self) -> bool:
        """Whether it is judged on labels."""
        return self.measure in ("difference", "top1")

    @property
    def fewest(self) -> int:
        """How many inputs it takes at least: on fewer, not even the original itself could be shown to keep it."""
        if self.measure == "difference":
            return fewest_for_difference(-self.limit)
        if self.measure in ("agreement", "top1"):
            return fewest_for_share(self.limit)
        return 2 if self.measure == "output-error" else 0


def parse_floors(given: str | Floor | Iterable[str | Floor] | None) -> tuple[Floor, ...]:
    """Read one floor or several; those that were read before stay as they are.

    Raises:
        TargetError: a text that is no floor; the message shows the forms.
    """
    if given is None:
        return ()
    return tuple(map(_parse, given if isinstance(given, Iterable) and not isinstance(given, str) else [given]))


def _parse(text: Any) -> Floor:
    if isinstance(text, Floor):
        return text
    if callable(text):
        raise TargetError(
            "a function alone says nothing of how much it must give; pass "
            "at_least=convsurgeon.Floor.of_score(function, least)."
        )
    if (floor := _read(str(text))) is None:
        raise TargetError(
            f"floor '{text}' can't be read; expected what must be kept: agreement=99% (the same top-1 class as the "
            "original), top1=-0.5 (points of accuracy lost at most), top1=75% (accuracy), output-error=1% (at most)."
        )
    # A share of 0 or 1 can't be shown on any number of inputs.
    if not 0 < abs(floor.limit) < 1:
        raise TargetError(
            f"floor '{text}' asks for what no number of inputs can show; expected more than 0 and less than 100 %, "
            "e.g. agreement=99.9% or top1=-0.1."
        )
    return floor


def counted_agreement(given: str | Floor) -> float:
    """The share in ``agreement=99%`` where inputs are only counted: without a bound, all of them may be asked for.

    Raises:
        TargetError: anything else, other measures included.
    """
    floor = given if isinstance(given, Floor) else _read(str(given))
    if floor is None or floor.measure != "agreement" or not 0 < floor.limit <= 1:
        text = given.text if isinstance(given, Floor) else given
        raise TargetError(f"floor '{text}' is none here; expected agreement=99%, above 0 % and at most 100 %.")
    return floor.limit


def _read(text: str) -> Floor | None:
    """Measure and limit as typed; None for what has none of the forms."""
    name, _, value = (part.strip().lower() for part in text.partition("="))
    name = name.replace("_", "-")
    if name == "top1" and (points := _POINTS.fullmatch(value)):
        return Floor(text, "difference", -float(points[1]) / 100)
    share = _SHARE.fullmatch(value)
    if share is None or name not in ("agreement", "top1", "output-error"):
        return None
    measure: Measure = "agreement" if name == "agreement" else "top1" if name == "top1" else "output-error"
    return Floor(text, measure, float(share[1]) / 100)
