"""What a run has done so far: steps, images, losses, scores, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from convsurgeon.recovery.checkpoint import Standing
from convsurgeon.recovery.history import HistoryRow, Score
from convsurgeon.recovery.moment import Moment

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts that grow with every step; ``loss_sum`` and ``loss_count`` start anew with each row."""

    step: int = 0
    images: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    rows: list[HistoryRow] = field(default_factory=list)
    original: Score = field(default_factory=Score)
    before: Score = field(default_factory=Score)
    best: Score | None = None
    kept_step: int = 0
    # Of this start alone:
    seconds: float = 0.0
    timed_images: int = 0
    timed_steps: int = 0
    rested: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, standing: Standing) -> Tally:
        """What an earlier start had done."""
        return cls(
            step=standing.step,
            images=standing.images,
            loss_sum=standing.loss_sum,
            loss_count=standing.loss_count,
            rows=list(standing.rows),
            original=standing.original,
            before=standing.before,
            best=standing.best,
            kept_step=standing.kept_step,
        )

    def count_step(self, loss: float, images: int) -> None:
        """One more step, on so many images over all processes."""
        self.step += 1
        self.images += images
        self.loss_sum += loss
        self.loss_count += 1

    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the batches."""
        if not self.rested:
            return ()
        return (
            f"some batches gave {', '.join(sorted(self.rested))} a single value per channel (one image, pooled to one "
            "pixel), where batch norms kept their statistics",
        )

    def clock(self, images: int, seconds: float) -> None:
        """How long a step took, reading its images included."""
        self.seconds += seconds
        self.timed_images += images
        self.timed_steps += 1

    def judged(self) -> bool:
        """Whether there is a row for the last step."""
        return bool(self.rows) and self.rows[-1].step == self.step

    def add_row(self, *, epoch: int, lr: float, score: Score, status: str, groups: dict[str, int]) -> None:
        """The state after the last step."""
        speed = round(self.timed_images / self.seconds, 1) if self.seconds else None
        self.rows.append(
            HistoryRow(
                step=self.step,
                epoch=epoch,
                loss=self.loss_sum / max(1, self.loss_count),
                lr=lr,
                score=score,
                status=status,
                groups=groups,
                images_per_second=speed,
            )
        )
        self.loss_sum, self.loss_count = 0.0, 0

    def moment(self, *, total_steps: int, epoch: int, status: str) -> Moment:
        """What a display can show now, after at least one step."""
        return Moment(
            step=self.step,
            total_steps=total_steps,
            epoch=epoch,
            loss=self.loss_sum / self.loss_count if self.loss_count else self.rows[-1].loss,
            score=self.rows[-1].score if self.rows else self.before,
            images_per_second=self.timed_images / max(self.seconds, 1e-9),
            seconds_left=(total_steps - self.step) * self.seconds / max(1, self.timed_steps),
            status=status,
        )
