"""What a recovery has to tell: one row per evaluation, and a summary that goes into the report."""

from __future__ import annotations

from pydantic import Field

from convsurgeon.base.proportion import no_better_than_chance
from convsurgeon.base.records import Record
from convsurgeon.recovery.settings import RecoverSettings

__all__ = ["History", "HistoryRow", "Score"]


class Score(Record):
    """One judgement on ``images`` held-out inputs.

    ``accuracy``: top-1 among ``classes`` where there are labels. Otherwise ``agreement``: the share with the
    original's top-1 class, and ``output_error`` = ‖o − ô‖² / ‖o − mean(o)‖². All are None where nothing was held out.
    """

    images: int = 0
    accuracy: float | None = None
    agreement: float | None = None
    output_error: float | None = None
    classes: int = 0

    @property
    def is_chance(self) -> bool:
        """Whether guessing among ``classes`` could well have been right as often."""
        return self.accuracy is not None and no_better_than_chance(self.accuracy, self.images, self.classes)

    def at_least(self, other: Score | None) -> bool:
        """Accuracy as high, or else an output error as small; without either the later one is taken."""
        if other is None:
            return True
        if self.accuracy is not None and other.accuracy is not None:
            return self.accuracy >= other.accuracy
        if self.output_error is not None and other.output_error is not None:
            return self.output_error <= other.output_error
        return True

    def held_out(self) -> str:
        """What was judged on, e.g. ``on 200 held-out images``."""
        return f"on {self.images} held-out image{'' if self.images == 1 else 's'}"

    def describe(self) -> str:
        """E.g. ``top-1 91.20 %``; empty where nothing was held out."""
        if self.accuracy is not None:
            return f"top-1 {100 * self.accuracy:.2f} %"
        parts = [f"the original's class {100 * self.agreement:.1f} %"] if self.agreement is not None else []
        if self.output_error is not None:
            parts.append(f"output error {100 * self.output_error:.2f} %")
        return ", ".join(parts)


class HistoryRow(Record):
    """The state after ``step`` steps; ``loss`` is the mean since the row before, ``lr`` that of new parameters.

    ``groups`` holds the number of groups of each layer whose groups are learned.
    """

    step: int
    epoch: int
    loss: float
    lr: float
    score: Score
    status: str = ""
    groups: dict[str, int] = Field(default_factory=dict)
    images_per_second: float | None = None


class History(Record):
    """The whole course of a recovery.

    ``images`` counts training images seen, repeats included; ``skipped`` unreadable files, with a few
    names. ``original`` and
    ``before`` are the scores of the original and of the converted network before the first step; ``after`` belongs
    to the weights that were kept, those of step ``kept_step``.
    """

    settings: RecoverSettings
    steps: int
    images: int
    skipped: int = 0
    skipped_examples: tuple[str, ...] = ()
    labels: bool
    device: str
    precision: str
    processes: int
    original: Score
    before: Score
    after: Score
    kept_step: int
    extras: tuple[str, ...] = ()
    rows: tuple[HistoryRow, ...]

    def to_json(self) -> str:
        """The history as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"

    def describe(self) -> str:
        """One line for people."""
        scores = [
            f"{name} {score.describe()}"
            for name, score in (("original", self.original), ("before", self.before), ("after", self.after))
            if score.describe()
        ]
        held = f"; {self.after.held_out()}: {'; '.join(scores)}" if scores else ""
        last = f", loss {self.rows[0].loss:.4f} → {self.rows[-1].loss:.4f}" if self.rows else ""
        return f"{self.steps} steps, {self.images} images{last}{held}"
