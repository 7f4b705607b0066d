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

    def describe(self) -> str:
        """Steps, loss, held-out score, speed and time left."""
        parts = [f"step {self.step}/{self.total_steps}", f"epoch {self.epoch + 1}", f"loss {self.loss:.4f}"]
        parts += [self.score.describe(), self.status]
        parts += [f"{self.images_per_second:,.0f} images/s", f"{_clock(self.seconds_left)} left"]
        return ", ".join(filter(None, parts))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


MomentCallback = Callable[[Moment], None]
