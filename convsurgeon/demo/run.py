"""The demonstration's run: plan, operate, calibrate and recover with each method, then time all of them in turn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.recover import recover
from convsurgeon.conversion.verbs import apply, plan
from convsurgeon.demo.data import Epochs, digits
from convsurgeon.demo.net import trained
from convsurgeon.demo.record import DemoReport, DemoRow
from convsurgeon.families import FAMILIES, LEARNABLE
from convsurgeon.planning.plan import Plan
from convsurgeon.recovery import RecoverSettings
from convsurgeon.runtimes.machine import place, threads
from convsurgeon.runtimes.timer import Effort, Spread, time_in_turn
from convsurgeon.surgery.operate import operate
from convsurgeon.transfer.accuracy import top1_accuracy

__all__ = ["LEARNED", "METHODS", "TIMED", "DemoSettings", "demonstrate"]

TIMED = "auto, timed"
LEARNED = f"{LEARNABLE}, learned groups"
METHODS = (*(family.name for family in FAMILIES), TIMED, LEARNED)

# Called with the stage, steps done, steps in all, and what comes next; the same as for conversions.

# Planning and calibration of one method take about as long as so many training steps.
_PLANNING = _CALIBRATING = _TIMING = 20


@dataclass(frozen=True)
class DemoSettings:
    """How much is done.

    ``steps`` of recovery, and ``learning_steps`` where groups are learned, in a quarter of which the gates settle.
    ``batch`` is the number of images of one step and of one timed forward.
    """

    methods: tuple[str, ...] = METHODS
    target: str = "macs=50%"
    calibration_images: int = 384
    steps: int = 44
    learning_steps: int = 88
    batch: int = 64
    timed_s: float = 0.6
    seed: int = 0


@dataclass(frozen=True)
class _Treated:
    """A method's plan, its accuracies on the way, and the network at its end."""

    method: str
    plan: Plan
    surgery: float
    calibration: float | None
    recovery: float
    model: nn.Module


class _Clinic:
    """The original, the data, and the work left."""

    def __init__(self, settings: DemoSettings, progress: Progress) -> None:
        self.settings = settings
        self.train, self.test = digits()
        self.original = trained()
        self._progress, self._done = progress, 0
        steps = (self.steps(method == LEARNED) for method in settings.methods)
        self._total = (_PLANNING + _CALIBRATING) * len(settings.methods) + sum(steps) + _TIMING

    def steps(self, learn_groups: bool) -> int:
        """Training steps of one method."""
        return self.settings.learning_steps if learn_groups else self.settings.steps

    def next(self, words: str) -> None:
        """Say what is being done now."""
        self._progress("demo:", self._done, self._total, words)

    def advance(self, units: int, words: str) -> None:
        """Count work as done."""
        self._done += units
        self.next(words)

    @property
    def example(self) -> Tensor:
        """One image [1, 1, 8, 8], for which costs are counted."""
        return self.train.images[:1]

    def calibration(self) -> list[Tensor]:
        """Images of the train split, without their labels."""
        return list(torch.split(self.train.images[: self.settings.calibration_images], 128))

    def accuracy(self, model: nn.Module) -> float:
        """Top-1 on the test split."""
        return top1_accuracy(model, self.test.batches(128)).top1

    def treat(self, method: str) -> _Treated:
        """From the original to a recovered network."""
        self.next(f"{method}: planning")
        return self._learned(method) if method == LEARNED else self._converted(method)

    def _converted(self, method: str) -> _Treated:
        settings = self.settings
        chosen = plan(
            self.original,
            self.example,
            method=method.removesuffix(", timed"),
            target=settings.target,
            calibration=self.calibration(),
            time_layers=method == TIMED,
            allow_slower=method != TIMED,
            latency_batch=settings.batch,
            seed=settings.seed,
        )
        fresh = self.accuracy(operate(self.original, chosen, seed=settings.seed))
        self.advance(_PLANNING, f"{method}: calibrating")
        done = apply(self.original, chosen, self.example, calibration=self.calibration(), seed=settings.seed)
        carried = self.accuracy(done.model)
        self.advance(_CALIBRATING, f"{method}: recovering")
        model, _ = self._recovered(done, learn_groups=False)
        return _Treated(method, chosen, fresh, carried, self.accuracy(model), model)

    def _learned(self, method: str) -> _Treated:
        done = apply(self.original, plan(self.original, self.example, method=LEARNABLE), self.example)
        opened = self.accuracy(done.model)
        self.advance(_PLANNING + _CALIBRATING, f"{method}: recovering")
        model, settled = self._recovered(done, learn_groups=True)
        return _Treated(method, settled, opened, None, self.accuracy(model), model)

    def _recovered(self, done: Conversion, *, learn_groups: bool) -> tuple[nn.Module, Plan]:
        result = recover(
            self.original,
            done,
            Epochs(self.train.images, self.settings.batch, self.settings.seed),
            settings=RecoverSettings(steps=self.steps(learn_groups), seed=self.settings.seed),
            learn_groups=learn_groups,
            target=self.settings.target if learn_groups else None,
            device="cpu",
            progress=lambda moment: self.advance(1, f"{done.plan.method}: recovering {moment.status}"),
        )
        return result.model, done.plan if result.conversion is None else result.conversion.plan

    def timed(self, models: list[nn.Module]) -> tuple[Spread, ...]:
        """Forwards of one batch, the models in turn."""
        images = self.train.images[: self.settings.batch]
        effort = Effort(warm_up_s=0.1, timed_s=self.settings.timed_s, fewest=5, most=200, sample_s=0.01)
        with torch.inference_mode():
            return time_in_turn([partial(model.eval(), images) for model in models], effort)


def demonstrate(settings: DemoSettings | None = None, progress: Progress | None = None) -> DemoReport:
    """Convert the digits' network with each method and measure what is left of its accuracy at every stage.

    Offline, on one thread of the CPU; seeded, so that accuracies and costs are the same each time on one machine,
    except where a plan is timed. The test split is used for nothing but the accuracies.
    """
    settings = settings or DemoSettings()
    # On maps this small a second thread gains little, and where other programs run it waits for them most of the time.
    with threads(1):
        return _demonstrated(settings, progress or silent)


def _demonstrated(settings: DemoSettings, progress: Progress) -> DemoReport:
    started = time.perf_counter()
    clinic = _Clinic(settings, progress)
    treated = [clinic.treat(method) for method in settings.methods]
    clinic.next("timing")
    spreads = clinic.timed([clinic.original, *(one.model for one in treated)])
    clinic.advance(_TIMING, "")
    return DemoReport(
        target=settings.target,
        convolutions=len(treated[0].plan.layers),
        accuracy=clinic.accuracy(clinic.original),
        before=treated[0].plan.before,
        latency_ms=spreads[0].median_ms,
        test_images=len(clinic.test.labels),
        train_images=len(clinic.train.labels),
        calibration_images=settings.calibration_images,
        recovery_steps=settings.steps,
        learning_steps=settings.learning_steps,
        batch=settings.batch,
        place=place("eager", "float32", torch.device("cpu")).describe(),
        seconds=time.perf_counter() - started,
        rows=tuple(_row(one, spread, spreads[0]) for one, spread in zip(treated, spreads[1:], strict=True)),
    )


def _row(one: _Treated, spread: Spread, original: Spread) -> DemoRow:
    return DemoRow(
        method=one.method,
        replaced=len(one.plan.replaced),
        surgery=one.surgery,
        calibration=one.calibration,
        recovery=one.recovery,
        after=one.plan.after,
        latency_ms=spread.median_ms,
        latency=spread.median_ns / original.median_ns,
    )
