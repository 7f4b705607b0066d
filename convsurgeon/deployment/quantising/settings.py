"""What is asked for where a file is to be int8."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from convsurgeon.base.errors import TargetError

__all__ = ["Int8", "least_agreement"]

_FLOOR = re.compile(r"\s*agreement\s*=\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s*")


@dataclass(frozen=True, eq=False)
class Int8:
    """How ``export`` makes an int8 file.

    Attributes:
        calibration: what the network is called with, as for ``convert``: ranges are measured on seven of eight inputs.
        judging: further inputs, that are judged on together with every eighth.
        original: the network that was converted, to be compared with, too; None for none.
        at_least: ``"agreement=99%"``: layers stay in float, the one that loses most first, until the file has the float
            file's first class for that share of the inputs that are judged on.
    """

    calibration: Iterable[Any]
    judging: Iterable[Any] = ()
    original: nn.Module | None = None
    at_least: str | None = None


def least_agreement(text: str) -> float:
    """The share in ``agreement=99%``.

    Raises:
        TargetError: it can't be read, or no share.
    """
    found = _FLOOR.fullmatch(text)
    share = float(found["percent"]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise TargetError(f"floor '{text}' can't be read; expected agreement=99%, above 0 % and at most 100 %.")
    return share
