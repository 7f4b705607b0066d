"""Where weights came from, as reports say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["WeightsOrigin"]


@dataclass(frozen=True)
class WeightsOrigin:
    """Where a model's weights came from, for reports and saved files.

    ``detail`` is a phrase: "ResNet50_Weights.IMAGENET1K_V2, from the cache", a file's path, or why the
    weights are random and from which seed. ``key`` says where in a file they stand (dotted; empty at its top),
    ``notes`` what was done to read them.
    """

    origin: Literal["pretrained", "file", "random", "caller"]
    detail: str
    key: str = ""
    notes: tuple[str, ...] = ()
