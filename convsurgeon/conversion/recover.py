"""``recover``: from two networks and data to a trained one, saved like any converted model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.devices import require_weights
from convsurgeon.base.errors import ModelLoadError, UsageError
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.remembered import known_facts
from convsurgeon.conversion.saved import load
from convsurgeon.conversion.training_data import source_of
from convsurgeon.planning.plan import Plan
from convsurgeon.recovery.callback import Callback
from convsurgeon.recovery.checkpoint import Checkpoints
from convsurgeon.recovery.engine import Engine, make_engine
from convsurgeon.recovery.given_state import in_given_state
from convsurgeon.recovery.history import History
from convsurgeon.recovery.judge import Judge
from convsurgeon.recovery.learned_groups import GroupSettings
from convsurgeon.recovery.learned_groups.request import requested
from convsurgeon.recovery.lesson import Lesson
from convsurgeon.recovery.loop import Trainer
from convsurgeon.recovery.moment import MomentCallback
from convsurgeon.recovery.randomness import untouched_generators
from convsurgeon.recovery.readout import Readout
from convsurgeon.recovery.settings import ImageSettings, RecoverSettings
from convsurgeon.recovery.sites import find_sites
from convsurgeon.recovery.training_bar import training_bar
from convsurgeon.report.folder import read_manifest, read_report, read_saved_plan, rebuild_of
from convsurgeon.report.record import Report
from convsurgeon.survey.usable import refuse_unfinite, refuse_unusable
from convsurgeon.transfer.accuracy import CHANCE

__all__ = ["Recovered", "open_conversion", "recover"]


@dataclass(frozen=True, repr=False)
class Recovered:
    """The trained network (class, device, dtype and mode of the converted one) and how it got there.

    ``conversion`` holds it with its plan and report; None for a module that neither ``convert`` nor ``load`` made.
    """

    model: nn.Module
    history: History
    conversion: Conversion | None = None

    def __repr__(self) -> str:
        return f"Recovered({type(self.model).__name__}, {self.history.describe()})"

    def save(self, directory: Path | str, *, force: bool = False) -> Path:
        """Write a folder that ``convsurgeon.load`` reads; the history is in its report.

        Raises:
            UsageError: a bare module was recovered, whose plan is not known.
            OutputExists: the folder is there and ``force`` is not given.
        """
        if self.conversion is None:
            raise UsageError("only a Conversion can be saved with its plan; pass one to recover, or save the model.")
        return self.conversion.save(directory, force=force)


def recover(
    original: nn.Module,
    converted: Conversion | nn.Module | Path | str,
    data: Iterable[Any] | Path | str,
    *,
    evaluation: Iterable[Any] | None = None,
    settings: RecoverSettings | None = None,
    images: ImageSettings | None = None,
    learn_groups: bool | GroupSettings = False,
    target: str | Iterable[str] | None = None,
    narrowed: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
    checkpoints: Path | str | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: MomentCallback | bool | None = None,
) -> Recovered:
    """Train a converted network back towards its original, by distillation; both stay as they are.

    Args:
        original: the network before the conversion, with its trained weights.
        converted: what ``convert`` returned or ``load`` did, the folder it was saved to, or a module made from the
            original.
        data: batches, read once per epoch: a DataLoader, or any iterable of inputs as the model takes them or of
            pairs (inputs, integer labels [N]). Or images: a folder, or ``convsurgeon.models.images.ImageBatches``.
        evaluation: held-out batches; with labels accuracy is measured, otherwise closeness to the original.
        settings: learning rates, length, loss, precision; see ``RecoverSettings`` and docs/recover.md.
        images: batch size and augmentation of a folder's images.
        learn_groups: train the gates of open-gated DGConvs with the weights, until ``target`` (``"macs=50%"``) is met.
        target: the budget of learned groups: what to keep at most of the original.
        narrowed: layers of a module that another tool left fewer channels; those of a plan are known.
        callbacks: what else learns along.
        checkpoints: a folder for ``last.safetensors`` and ``best.safetensors``; None keeps the best in memory.
        resume: go on from the folder's last checkpoint; with the same arguments the result is the same.
        device: ``auto`` trains on an accelerator where there is one; the result is on the converted model's device.
        progress: called after each step, on the main process; a bar shows by itself on a terminal, False keeps it away.

    Raises:
        UsageError: data, labels or settings that do not fit, nothing to train, a checkpoint of another run.
        TargetError: a target that learned groups can't reach.
        OutputExists: the folder of checkpoints holds an earlier run.
        ModelLoadError: a network is wrapped, compiled, scripted or quantised: surgery comes before wrapping.
        ModelRunError: a network fails on the data.
        TrainingFailed: the loss or the gradient is not finite any more.
        Interrupted: SIGINT or SIGTERM; a KeyboardInterrupt that says how to go on.
    """
    settings = settings or RecoverSettings()
    _refuse_wrapped(original)
    conversion = _as_conversion(original, converted)
    network = conversion.model if isinstance(conversion, Conversion) else conversion
    _refuse_wrapped(network)
    plan = conversion.plan if isinstance(conversion, Conversion) else None
    callbacks = (*requested(plan, learn_groups, target), *callbacks)
    engine = make_engine(device, settings.precision)
    with untouched_generators(engine.device):
        teacher = _full_precision(original, engine).eval().requires_grad_(False)
        student = _full_precision(network, engine)
        readout = Readout(teacher, settings)
        report = conversion.report if isinstance(conversion, Conversion) else None
        lesson = Lesson(
            teacher=teacher,
            student=student,
            sites=find_sites(teacher, student, {*_narrowed(plan), *narrowed}),
            source=source_of(data, settings, images or ImageSettings(), report, engine),
            readout=readout,
            judge=Judge(teacher, evaluation, engine, readout),
            engine=engine,
            settings=settings,
            callbacks=tuple(callbacks),
            checkpoints=None if checkpoints is None else Checkpoints(Path(checkpoints)),
        )
        with _telling(progress) as tell:
            model, history = Trainer(lesson, tell).run(resume=resume)
    model = in_given_state(model, network)
    if isinstance(conversion, Conversion):
        return Recovered(model, history, _recovered(conversion, model, history, callbacks))
    return Recovered(model, history)


def _narrowed(plan: Plan | None) -> frozenset[str]:
    """The layers that have fewer channels than the original's."""
    return frozenset(name for row in (plan.narrowed if plan else ()) for name in row.stream.members)


def _telling(given: MomentCallback | bool | None) -> AbstractContextManager[MomentCallback | None]:
    """Who is told of each step: the caller's own, nobody (False), or a bar where people watch."""
    if given is False:
        return nullcontext()
    return training_bar() if given is None or given is True else nullcontext(given)


def open_conversion(folder: Path | str, original: nn.Module) -> Conversion:
    """A saved conversion as ``convert`` returned it; ``original`` is its architecture.

    Raises:
        UnknownName: no saved model there.
        ModelLoadError: damaged files, or another architecture.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    network = load(path, model=original)
    return Conversion(network, read_saved_plan(path), read_report(path), rebuild_of(manifest, path))


def _as_conversion(original: nn.Module, converted: Conversion | nn.Module | Path | str) -> Conversion | nn.Module:
    if isinstance(converted, (str, Path)):
        return open_conversion(converted, original)
    if isinstance(converted, nn.Module) and (facts := known_facts(converted)) is not None:
        return Conversion(converted, facts.plan, facts.report, facts.rebuild)
    return converted


def _refuse_wrapped(model: nn.Module) -> None:
    try:
        refuse_unusable(model)
    except ModelLoadError as error:
        raise ModelLoadError(
            f"{error}. Surgery comes before wrapping: pass the plain network to recover, which wraps it itself where "
            "several processes train."
        ) from error
    require_weights(model, "trained")
    refuse_unfinite(model)


def _full_precision(model: nn.Module, engine: Engine) -> nn.Module:
    """A copy on the engine's device. Half-precision weights are trained as float32: small updates would round away."""
    half, copy = (torch.float16, torch.bfloat16), duplicate(model)
    return (copy.float() if any(p.dtype in half for p in copy.parameters()) else copy).to(engine.device)


def _recovered(conversion: Conversion, model: nn.Module, history: History, callbacks: Sequence[Callback]) -> Conversion:
    plan = conversion.plan
    for callback in callbacks:
        plan = callback.replanned(plan)
    # Learned groups make it another network, which nobody has timed.
    timing = conversion.report.timing if plan == conversion.plan else None
    report = _with_history(conversion.report.model_copy(update={"plan": plan, "timing": timing}), history)
    return replace(conversion, model=model, plan=plan, report=report)


def _with_history(report: Report, history: History) -> Report:
    """What was measured before the training (errors left, agreement) no longer holds."""
    doubts = []
    if history.original.is_chance:
        doubts.append(CHANCE.format(classes=history.original.classes))
    return report.model_copy(
        update={
            "notes": (*doubts, *report.notes),
            "inherited": f"{report.inherited}, then trained by distillation from the original",
            "fidelity": None,
            "recovery": history,
            "errors": {},
        }
    )
