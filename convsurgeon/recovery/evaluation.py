"""Judging while a run goes on: rows of the history, the best weights so far, and the outcome at the end."""

from __future__ import annotations

from torch import Tensor, nn

from convsurgeon.base.outside_text import in_unicode
from convsurgeon.recovery.checkpoint import model_state, restore_model
from convsurgeon.recovery.history import History, Score
from convsurgeon.recovery.lesson import Lesson
from convsurgeon.recovery.optimiser import rate
from convsurgeon.recovery.tally import Tally

__all__ = ["Evaluation"]

_EXAMPLES = 3


class Evaluation:
    """Scores the student and holds the best weights seen; writes what it finds into the tally."""

    def __init__(self, lesson: Lesson, tally: Tally) -> None:
        self._lesson = lesson
        self._tally = tally
        self._best: dict[str, Tensor] = {}

    def start(self) -> None:
        """Score both networks before the first step; what was given is the best so far."""
        tally, judge = self._tally, self._lesson.judge
        tally.original = judge.score(self._lesson.teacher)
        tally.before = judge.score(self._lesson.student)
        self._keep_if_best(tally.before)

    def go_on(self) -> None:
        """Take up the best weights of an earlier start, where it had any."""
        if self._tally.best is not None and self._lesson.checkpoints is not None:
            self._best = self._lesson.checkpoints.load_best()

    def judge(self, epoch: int, total_steps: int) -> None:
        """Score the student, add a row, keep the weights if they are the best so far."""
        settings = self._lesson.settings
        score = self._lesson.judge.score(self._lesson.student)
        lr = settings.lr_new * rate(max(0, self._tally.step - 1), total_steps, settings.warmup)
        self._tally.add_row(epoch=epoch, lr=lr, score=score, status=self._lesson.status(), groups=self._lesson.groups())
        self._keep_if_best(score)

    def _keep_if_best(self, score: Score) -> None:
        lesson, tally = self._lesson, self._tally
        if not all(callback.settled() for callback in lesson.callbacks) or not score.at_least(tally.best):
            return
        tally.best, tally.kept_step = score, tally.step
        self._best = model_state(lesson.student)
        # The best comes before the last, so that a kill in between leaves a last one that leads here again.
        if (checkpoints := lesson.writes_to) is not None:
            checkpoints.save_best(self._best, tally.step, score)

    def finish(self) -> tuple[nn.Module, History]:
        """The network with the weights that are kept, in its final form, and what there is to tell."""
        lesson, tally = self._lesson, self._tally
        keep_best = lesson.settings.keep == "best" and bool(self._best)
        if keep_best:
            restore_model(lesson.student, self._best)
        model = lesson.student.eval()
        for callback in lesson.callbacks:
            model = callback.finish(model)
        return model, self._history(self._after(model, keep_best), tally.kept_step if keep_best else tally.step)

    def _after(self, model: nn.Module, keep_best: bool) -> Score:
        """The score of the final network: known from a row, unless callbacks changed it since."""
        tally = self._tally
        if self._lesson.callbacks or not tally.rows:
            return self._lesson.judge.score(model)
        return tally.best if keep_best and tally.best is not None else tally.rows[-1].score

    def _history(self, after: Score, kept_step: int) -> History:
        lesson, tally = self._lesson, self._tally
        engine, source = lesson.engine, lesson.source
        skipped = engine.total(source.skipped().to(engine.device))
        return History(
            settings=lesson.settings,
            steps=tally.step,
            images=tally.images,
            skipped=int((skipped > 0).sum()),
            skipped_examples=tuple(map(in_unicode, source.examples_of_skipped()[:_EXAMPLES])),
            labels=lesson.settings.label_weight > 0,
            device=engine.device.type,
            precision=engine.precision,
            processes=engine.processes,
            original=tally.original,
            before=tally.before,
            after=after,
            kept_step=kept_step,
            extras=tuple(
                filter(None, (*(c.status() for c in lesson.callbacks), lesson.readout.describe(), *tally.notes()))
            ),
            rows=tuple(tally.rows),
        )
