"""Limits as people write them: ``4.2G``, ``+2%`` against the baseline, ``50% of resnet50``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from convsurgeon.base.errors import TargetError
from convsurgeon.budgets.metrics import METRICS, Metric, read_amount

__all__ = ["Limit", "parse_limit"]

_MOST_CHARACTERS = 300
_GROWTH = re.compile(r"([+-])\s*(\d{1,6}(?:\.\d{1,6})?)\s*%")
_SHARE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*%\s+of\s+(\S.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Limit:
    """At most this much.

    ``amount`` is the value itself (kind "absolute"; MACs, FLOPs, parameters, bytes or milliseconds), the allowed
    share of the baseline's value ("baseline": 1.02 for ``+2%``), or of another ``entry``'s ("entry").
    """

    text: str
    kind: Literal["absolute", "baseline", "entry"]
    amount: Fraction
    entry: str = ""


def parse_limit(metric: Metric, value: str | int) -> Limit:
    """Read a limit.

    Raises:
        TargetError: it can't be read; the message shows the forms.
    """
    text = str(value).strip()
    if len(text) > _MOST_CHARACTERS:
        raise TargetError(f"a limit of {len(text)} characters can't be meant. {_forms(metric)}")
    if match := _GROWTH.fullmatch(text):
        if not METRICS[metric].exact:
            raise TargetError(
                f"'{text}' compares with the lock file, which keeps no {metric}; "
                f"expected {METRICS[metric].example} or '80% of ENTRY', which is measured in the same run."
            )
        share = 1 + Fraction(match[1] + match[2]) / 100
        if share <= 0:
            raise TargetError(f"'{text}' leaves nothing of the baseline. {_forms(metric)}")
        return Limit(text, "baseline", share)
    if match := _SHARE.fullmatch(text):
        share = Fraction(match[1]) / 100
        if share == 0:
            raise TargetError(f"'{text}' leaves nothing. {_forms(metric)}")
        return Limit(text, "entry", share, match[2].strip())
    amount = read_amount(metric, text)
    if amount is None or amount <= 0:
        raise TargetError(f"'{text}' can't be read. {_forms(metric)}")
    return Limit(text, "absolute", amount)


def _forms(metric: Metric) -> str:
    info = METRICS[metric]
    growth = "+2% (against the baseline), " if info.exact else ""
    return f"Expected at most how much, e.g. {info.example}, {growth}50% of ENTRY."
