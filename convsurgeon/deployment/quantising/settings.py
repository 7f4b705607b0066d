"""What is asked for where a file is to be int8."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from convsurgeon.planning.floors import Floor

__all__ = ["Int8"]


@dataclass(frozen=True, eq=False)
class Int8:
    """How ``export`` makes an int8 file.

    Attributes:
        calibration: what the network is called with, as for ``convert``: ranges are measured on seven of eight inputs.
        judging: further inputs, that are judged on together with every eighth.
        original: the network that was converted, to be compared with, too; None for none.
        at_least: ``"agreement=99%"``: layers stay in float, the one that loses most first, until the file has the float
            file's first class for that share of the inputs that are judged on, as counted: no bound, unlike
            ``convert``'s floor, which is about the original.
    """

    calibration: Iterable[Any]
    judging: Iterable[Any] = ()
    original: nn.Module | None = None
    at_least: str | Floor | None = None
