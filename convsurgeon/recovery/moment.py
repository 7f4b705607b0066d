"""What a progress display is told after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convsurgeon.recovery.history import Score

__all__ = ["Moment", "MomentCallback"]


@dataclass(frozen=True)
class Moment:
    """What a progress display can show after a step. ``images_per_second`` and ``seconds_left`` are estimates."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    score: Score
    images_per_second: float
    seconds_left: float
    status: str


MomentCallback = Callable[[Moment], None]
