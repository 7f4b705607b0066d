"""The training loop: step by step, with checkpoints, judgements and a way out between any two steps."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from convsurgeon.base.errors import ModelLoadError, TrainingFailed, UsageError, first_line
from convsurgeon.recovery.batches import Batch
from convsurgeon.recovery.distillation import Answering, Distillation
from convsurgeon.recovery.evaluation import Evaluation
from convsurgeon.recovery.feed import Feed
from convsurgeon.recovery.history import History
from convsurgeon.recovery.interruption import Interrupted, StopRequest, stop_requests
from convsurgeon.recovery.lesson import Lesson
from convsurgeon.recovery.modes import norms_follow, resting_alone, set_modes
from convsurgeon.recovery.moment import MomentCallback
from convsurgeon.recovery.optimiser import make_optimiser, rate, set_rates
from convsurgeon.recovery.randomness import reseed
from convsurgeon.recovery.resuming import gathered, put_back
from convsurgeon.recovery.tally import Tally

__all__ = ["Trainer"]


class Trainer:
    """One run of a lesson."""

    def __init__(self, lesson: Lesson, progress: MomentCallback | None = None) -> None:
        self.lesson = lesson
        self.total = lesson.total_steps()
        self._progress = progress
        for callback in lesson.callbacks:
            callback.attach(lesson.student)
        self._optimizer, self._moved = make_optimiser(lesson.student, lesson.sites, lesson.settings, lesson.callbacks)
        self._distillation = Distillation(
            lesson.teacher, lesson.student, lesson.sites, lesson.settings, lesson.engine, lesson.readout
        )
        self._tally, self._feed = Tally(), Feed(lesson.source)
        self._evaluation = Evaluation(lesson, self._tally)

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
        try:
            with stop_requests() as request:
                self._steps(request)
        finally:
            self._feed.close()
        return self._evaluation.finish()

    def _begin(self) -> None:
        if (checkpoints := self.lesson.writes_to) is not None:
            checkpoints.refuse_existing()
        self._evaluation.start()

    def _resume(self) -> None:
        lesson = self.lesson
        if lesson.checkpoints is None:
            raise UsageError("there is no folder of checkpoints to resume from; pass checkpoints=DIR.")
        saved = lesson.checkpoints.load_last(lesson.settings, lesson.identity())
        try:
            put_back(saved, lesson, self._optimizer)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelLoadError(
                f"the checkpoint in '{lesson.checkpoints.folder}' is damaged, its state fits nothing in this run "
                f"({type(error).__name__}: {first_line(error)}); remove the folder to start anew."
            ) from error
        self._tally = Tally.at(saved.standing)
        self._feed = Feed(lesson.source, saved.standing.epoch, saved.standing.position)
        self._evaluation = Evaluation(lesson, self._tally)
        self._evaluation.go_on()

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
            set_modes(self.lesson.student, norms_follow(settings, tally.step, self.total, self.lesson.settled()))
            stop = self._learn(network, batch, request)
            tally.clock(batch.images * self.lesson.engine.processes, time.perf_counter() - started)
            last = tally.step == self.total
            if settings.evaluate_every is not None and tally.step % settings.evaluate_every == 0:
                self._judge()
            if last and not tally.judged():
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
        with resting_alone(lesson.student, self._tally.rested):
            loss = self._distillation.loss(network, batch)
        for callback in lesson.callbacks:
            loss = callback.transform(loss)
        news = torch.stack([loss.detach().float(), *torch.tensor([float(request.asked), batch.images]).to(loss.device)])
        total_loss, stops, images = lesson.engine.total(news).tolist()
        value = total_loss / lesson.engine.processes
        self._refuse_unfinite(value, "loss", batch)
        set_rates(self._optimizer, rate(tally.step, self.total, lesson.settings.warmup))
        norm = lesson.engine.step(loss, self._optimizer, self._moved, lesson.settings.clip)
        if lesson.engine.precision != "fp16":
            self._refuse_unfinite(norm, "gradient", batch)
        tally.count_step(value, int(images))
        self._feed.position += 1
        for callback in lesson.callbacks:
            callback.after_step(tally.step, self.total)
        return stops > 0

    def _refuse_unfinite(self, value: float, what: str, batch: Batch) -> None:
        if math.isfinite(value):
            return
        kept = ""
        if self.lesson.checkpoints is not None:
            kept = f" The last good checkpoint is kept in '{self.lesson.checkpoints.folder}'."
        remedy = "Lower the learning rates (lr_new, lr_old), or train in fp32."
        if not batch.inputs.finite():
            remedy = (
                f"The inputs of this batch (number {self._feed.position + 1} of its epoch) hold NaN or infinity: leave "
                "such inputs out, or mend what prepares them."
            )
        raise TrainingFailed(
            f"the {what} became {value} at step {self._tally.step + 1} of {self.total}.{kept} {remedy}"
        )

    def _wrapped(self) -> nn.Module:
        """The network to call; parameters that no output depends on are left out where gradients are exchanged."""
        lesson = self.lesson
        if lesson.engine.processes > 1:
            self._leave_out_unused()
        return lesson.engine.wrap(Answering(lesson.student))

    def _leave_out_unused(self) -> None:
        student = self.lesson.student.eval()
        self._distillation.loss(Answering(student), self._feed.peek()).backward()  # type: ignore[no-untyped-call]
        for parameter in student.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None

    def _judge(self) -> None:
        self._evaluation.judge(self._feed.epoch, self.total)

    def _save(self) -> None:
        lesson = self.lesson
        if (checkpoints := lesson.writes_to) is not None:
            checkpoints.save_last(gathered(lesson, self._tally, self._feed, self._optimizer, self.total))
        lesson.engine.wait()

    def _show(self) -> None:
        if self._progress is not None and self.lesson.engine.rank == 0:
            status = self.lesson.status()
            self._progress(self._tally.moment(total_steps=self.total, epoch=self._feed.epoch, status=status))

    def _where(self) -> str:
        folder = self.lesson.checkpoints.folder if self.lesson.checkpoints is not None else None
        kept = f"; the checkpoint is in '{folder}', go on with --resume (resume=True)" if folder else ""
        return f"interrupted after step {self._tally.step} of {self.total}{kept}"
