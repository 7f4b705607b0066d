"""The training loop: step by step, with checkpoints, judgements and a way out between any two steps."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.errors import TrainingFailed, UsageError
from convsurgeon.recovery.batches import Batch, Source
from convsurgeon.recovery.checkpoint import Checkpoints, Saved, Standing, model_state, restore_model
from convsurgeon.recovery.distillation import Distillation
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.extra import Extra
from convsurgeon.recovery.history import History, HistoryRow, Score
from convsurgeon.recovery.interruption import Interrupted, StopRequest, stop_requests
from convsurgeon.recovery.judge import Judge
from convsurgeon.recovery.modes import norms_follow, set_modes
from convsurgeon.recovery.optimiser import load_optimiser, make_optimiser, optimiser_state, rate, set_rates
from convsurgeon.recovery.randomness import reseed
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.recovery.sites import Sites

__all__ = ["Lesson", "Moment", "Progress", "Trainer"]

_EXAMPLES = 3


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


Progress = Callable[[Moment], None]


@dataclass(frozen=True)
class Lesson:
    """Everything a run is made of; ``teacher`` and ``student`` are copies on the engine's device."""

    teacher: nn.Module
    student: nn.Module
    sites: Sites
    source: Source
    judge: Judge
    engine: Engine
    settings: RecoverSettings
    extras: tuple[Extra, ...] = ()
    checkpoints: Checkpoints | None = None

    def total_steps(self) -> int:
        """The run's length.

        Raises:
            UsageError: epochs of data without a length.
        """
        if self.settings.steps is not None:
            return self.settings.steps
        steps = self.source.steps()
        if steps is None:
            raise UsageError("the data has no length, so epochs can't be planned; set steps instead.")
        return self.settings.epochs * steps

    def identity(self) -> str:
        """A hash of the network's names and shapes, what is replaced, and the length of the data."""
        tensors = [f"{name} {list(t.shape)} {t.dtype}" for name, t in self.student.state_dict().items()]
        parts = [*tensors, *self.sites.replaced, str(self.source.steps()), str(len(self.extras))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class _Feed:
    """Batches without end, epoch after epoch."""

    def __init__(self, source: Source, epoch: int = 0, position: int = 0) -> None:
        self.source, self.epoch, self.position = source, epoch, position
        self._batches: Iterator[Batch] | None = None

    def next(self) -> tuple[Batch, bool]:
        """The next batch, and whether it is the first one after a whole epoch."""
        rolled = False
        if self._batches is None:
            self._batches = self.source.epoch(self.epoch, self.position)
        batch = next(self._batches, None)
        if batch is None:
            if self.position == 0:
                raise UsageError("the data yields no batch; pass at least one with as many inputs as processes.")
            rolled, self.epoch, self.position = True, self.epoch + 1, 0
            self._batches = self.source.epoch(self.epoch, 0)
            batch = next(self._batches, None)
        if batch is None:
            raise UsageError("the data could be read only once; pass a list, a DataLoader or another re-readable one.")
        return batch, rolled

    def close(self) -> None:
        """Let go of worker processes."""
        self._batches = None


@dataclass
class _Tally:
    """What a run has done so far."""

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


class Trainer:
    """One run of a lesson."""

    def __init__(self, lesson: Lesson, progress: Progress | None = None) -> None:
        self.lesson = lesson
        self.total = lesson.total_steps()
        self._progress = progress
        self._tally = _Tally()
        self._best: dict[str, Tensor] = {}
        for extra in lesson.extras:
            extra.attach(lesson.student)
        self._optimizer, self._moved = make_optimiser(lesson.student, lesson.sites, lesson.settings, lesson.extras)
        self._distillation = Distillation(lesson.teacher, lesson.student, lesson.sites, lesson.settings, lesson.engine)
        self._feed = _Feed(lesson.source)

    def run(self, *, resume: bool) -> tuple[nn.Module, History]:
        """Train to the end; the student is changed in place.

        Raises:
            Interrupted: SIGINT or SIGTERM; the last checkpoint is of the last whole step.
            TrainingFailed: a loss or gradient that is not finite; the last good checkpoint stays.
            UsageError, ModelError: see ``recover``.
        """
        if resume:
            self._resume()
        else:
            self._begin()
        with stop_requests() as request:
            self._steps(request)
        self._feed.close()
        return self._finish()

    def _begin(self) -> None:
        lesson, tally = self.lesson, self._tally
        if lesson.checkpoints is not None and lesson.engine.rank == 0:
            lesson.checkpoints.refuse_existing()
        tally.original = lesson.judge.score(lesson.teacher)
        tally.before = lesson.judge.score(lesson.student)
        self._keep_if_best(tally.before)

    def _steps(self, request: StopRequest) -> None:
        settings, tally = self.lesson.settings, self._tally
        network = self._wrapped()
        while tally.step < self.total:
            started = time.perf_counter()
            batch, rolled = self._feed.next()
            if rolled and settings.evaluate_every is None:
                self._judge()
                self._save()
                started = time.perf_counter()
            set_modes(self.lesson.student, norms_follow(settings, tally.step, self.total))
            stop = self._learn(network, batch, request)
            self._clock(batch, time.perf_counter() - started)
            if settings.evaluate_every is not None and tally.step % settings.evaluate_every == 0:
                self._judge()
            last = tally.step == self.total
            if last and (not tally.rows or tally.rows[-1].step < tally.step):
                self._judge()
            if last or stop or tally.step % settings.checkpoint_every == 0:
                self._save()
            self._show()
            if stop and not last:
                raise Interrupted(self._where())

    def _learn(self, network: nn.Module, batch: Batch, request: StopRequest) -> bool:
        """One step; returns whether some process was asked to stop."""
        lesson, tally = self.lesson, self._tally
        # Dropout and the like depend on the step alone.
        reseed(lesson.settings.seed, tally.step, lesson.engine.rank)
        loss = self._distillation.loss(network, batch)
        for extra in lesson.extras:
            loss = extra.transform(loss)
        news = torch.stack([loss.detach().float(), *torch.tensor([float(request.asked), batch.images]).to(loss.device)])
        total_loss, stops, images = lesson.engine.total(news).tolist()
        value = total_loss / lesson.engine.processes
        self._refuse_unfinite(value, "loss")
        set_rates(self._optimizer, rate(tally.step, self.total, lesson.settings.warmup))
        norm = lesson.engine.step(loss, self._optimizer, self._moved, lesson.settings.clip)
        if lesson.engine.precision != "fp16":
            self._refuse_unfinite(norm, "gradient")
        tally.step += 1
        self._feed.position += 1
        tally.images += int(images)
        tally.loss_sum += value
        tally.loss_count += 1
        for extra in lesson.extras:
            extra.after_step(tally.step, self.total)
        return stops > 0

    def _refuse_unfinite(self, value: float, what: str) -> None:
        if math.isfinite(value):
            return
        kept = ""
        if self.lesson.checkpoints is not None:
            kept = f" The last good checkpoint is kept in '{self.lesson.checkpoints.folder}'."
        raise TrainingFailed(
            f"the {what} became {value} at step {self._tally.step + 1} of {self.total}.{kept} Lower the learning rates "
            "(lr_new, lr_old), check the inputs for NaN, or train in fp32."
        )

    def _wrapped(self) -> nn.Module:
        """The network to call; parameters that no output depends on are left out where gradients are exchanged."""
        lesson = self.lesson
        if lesson.engine.processes > 1:
            self._leave_out_unused()
        return lesson.engine.wrap(lesson.student)

    def _leave_out_unused(self) -> None:
        lesson = self.lesson
        lesson.student.eval()
        batch = next(lesson.source.epoch(self._feed.epoch, self._feed.position))
        # The run itself starts from the same random states.
        lesson.source.load_state(lesson.source.state())
        self._distillation.loss(lesson.student, batch).backward()  # type: ignore[no-untyped-call]
        for parameter in lesson.student.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None

    def _judge(self) -> None:
        """Score the student, add a row, keep the weights if they are the best so far."""
        lesson, tally = self.lesson, self._tally
        score = lesson.judge.score(lesson.student)
        speed = tally.timed_images / tally.seconds if tally.seconds else None
        tally.rows.append(
            HistoryRow(
                step=tally.step,
                epoch=self._feed.epoch,
                loss=tally.loss_sum / max(1, tally.loss_count),
                lr=lesson.settings.lr_new * rate(max(0, tally.step - 1), self.total, lesson.settings.warmup),
                score=score,
                status=self._status(),
                images_per_second=None if speed is None else round(speed, 1),
            )
        )
        tally.loss_sum, tally.loss_count = 0.0, 0
        self._keep_if_best(score)

    def _keep_if_best(self, score: Score) -> None:
        lesson, tally = self.lesson, self._tally
        if not all(extra.settled() for extra in lesson.extras) or not score.at_least(tally.best):
            return
        tally.best, tally.kept_step = score, tally.step
        self._best = model_state(lesson.student)
        # The best comes before the last, so that a kill in between leaves a last one that leads here again.
        if lesson.checkpoints is not None and lesson.engine.rank == 0:
            lesson.checkpoints.save_best(self._best, tally.step, score)

    def _save(self) -> None:
        lesson = self.lesson
        if lesson.checkpoints is not None and lesson.engine.rank == 0:
            lesson.checkpoints.save_last(Saved(self._standing(), self._tensors()))
        lesson.engine.wait()

    def _standing(self) -> Standing:
        lesson, tally = self.lesson, self._tally
        return Standing(
            settings=lesson.settings,
            identity=lesson.identity(),
            total_steps=self.total,
            step=tally.step,
            epoch=self._feed.epoch,
            position=self._feed.position,
            images=tally.images,
            loss_sum=tally.loss_sum,
            loss_count=tally.loss_count,
            original=tally.original,
            before=tally.before,
            best=tally.best,
            kept_step=tally.kept_step,
            rows=tuple(tally.rows),
            engine=lesson.engine.state(),
            extras=tuple(
                {k: v for k, v in extra.state_dict().items() if not isinstance(v, Tensor)} for extra in lesson.extras
            ),
        )

    def _tensors(self) -> dict[str, Tensor]:
        lesson = self.lesson
        rooms: dict[str, dict[str, Any]] = {
            "model": model_state(lesson.student),
            "optimiser": optimiser_state(self._optimizer),
            "source": lesson.source.state(),
            **{f"extra{i}": dict(extra.state_dict()) for i, extra in enumerate(lesson.extras)},
        }
        return {
            f"{room}/{k}": t for room, tensors in rooms.items() for k, t in tensors.items() if isinstance(t, Tensor)
        }

    def _resume(self) -> None:
        lesson, tally = self.lesson, self._tally
        if lesson.checkpoints is None:
            raise UsageError("there is no folder of checkpoints to resume from; pass checkpoints=DIR.")
        saved = lesson.checkpoints.load_last(lesson.settings, lesson.identity())
        at = saved.standing
        restore_model(lesson.student, saved.room("model"))
        load_optimiser(self._optimizer, saved.room("optimiser"))
        lesson.source.load_state(saved.room("source"))
        lesson.engine.load_state(at.engine)
        for i, extra in enumerate(lesson.extras):
            extra.load_state_dict({**at.extras[i], **saved.room(f"extra{i}")})
        self._feed = _Feed(lesson.source, at.epoch, at.position)
        for name in ("step", "images", "loss_sum", "loss_count", "original", "before", "best", "kept_step"):
            setattr(tally, name, getattr(at, name))
        tally.rows = list(at.rows)
        if at.best is not None:
            self._best = lesson.checkpoints.load_best()

    def _finish(self) -> tuple[nn.Module, History]:
        lesson, tally = self.lesson, self._tally
        keep_best = lesson.settings.keep == "best" and self._best
        if keep_best:
            restore_model(lesson.student, self._best)
        model = lesson.student.eval()
        for extra in lesson.extras:
            model = extra.finish(model)
        after = lesson.judge.score(model) if lesson.extras or not tally.rows else tally.rows[-1].score
        if keep_best and not lesson.extras and tally.best is not None:
            after = tally.best
        skipped = lesson.engine.total(lesson.source.skipped().to(lesson.engine.device))
        return model, History(
            settings=lesson.settings,
            steps=tally.step,
            images=tally.images,
            skipped=int((skipped > 0).sum()),
            skipped_examples=tuple(lesson.source.examples_of_skipped()[:_EXAMPLES]),
            labels=lesson.settings.label_weight > 0,
            device=lesson.engine.device.type,
            precision=lesson.engine.precision,
            processes=lesson.engine.processes,
            original=tally.original,
            before=tally.before,
            after=after,
            kept_step=tally.kept_step if keep_best else tally.step,
            extras=tuple(words for extra in lesson.extras if (words := extra.status())),
            rows=tuple(tally.rows),
        )

    def _status(self) -> str:
        return ", ".join(words for extra in self.lesson.extras if (words := extra.status()))

    def _clock(self, batch: Batch, seconds: float) -> None:
        tally = self._tally
        tally.seconds += seconds
        tally.timed_images += batch.images * self.lesson.engine.processes
        tally.timed_steps += 1

    def _show(self) -> None:
        tally = self._tally
        if self._progress is None or self.lesson.engine.rank != 0:
            return
        rows = tally.rows
        self._progress(
            Moment(
                step=tally.step,
                total_steps=self.total,
                epoch=self._feed.epoch,
                loss=tally.loss_sum / tally.loss_count if tally.loss_count else rows[-1].loss,
                score=rows[-1].score if rows else tally.before,
                images_per_second=tally.timed_images / max(tally.seconds, 1e-9),
                seconds_left=(self.total - tally.step) * tally.seconds / max(1, tally.timed_steps),
                status=self._status(),
            )
        )

    def _where(self) -> str:
        folder = self.lesson.checkpoints.folder if self.lesson.checkpoints is not None else None
        kept = f"; the checkpoint is in '{folder}', go on with --resume (resume=True)" if folder else ""
        return f"interrupted after step {self._tally.step} of {self.total}{kept}"
