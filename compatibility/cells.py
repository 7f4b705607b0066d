"""One method on one network: converted, compared, loaded again, exported and trained for a step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import convsurgeon
from compatibility.conversions import Attempt, attempt
from compatibility.exporting import exported
from compatibility.narrowing import NARROW, halved
from compatibility.records import Cell
from compatibility.sizes import Sized, resize, run_at
from compatibility.stages import LeftOut, Stages, Wrong
from compatibility.subjects import Subject
from compatibility.training import TRAINING_BATCH, graded, step
from compatibility.witness import Ran, digest, outputs_equal, params, ran, state_of

__all__ = ["Patient", "examined_cell"]


@dataclass(frozen=True)
class Patient:
    """A network that was built and runs, and what the original does."""

    subject: Subject
    model: nn.Module
    sized: Sized
    digest: str
    trained: tuple[int, frozenset[str]] | str


def examined_cell(patient: Patient, method: str, export_macs: int | None, at: Callable[[str], None]) -> Cell:
    """One method through every stage on one network; ``at`` is told each before it starts.

    ``export_macs`` are those above which the smallest inputs are exported; None leaves the export out.
    """
    stages = Stages(at, f"{method}, ")
    made = stages.run("convert", lambda: _made(patient, method))
    stages.run("unchanged", lambda: _unchanged(patient))
    if made is None:
        return Cell(method=method, outcome="failed", checks=stages.checks)
    if made.done is None:
        return Cell(method=method, outcome=made.outcome, note=made.note, checks=stages.checks)
    done = made.done
    after = stages.run("forward", lambda: _forward(patient, done))
    if after is not None:
        stages.run("counts", lambda: _counts(patient, done, after))
    stages.run("target", lambda: _target(done, made.share))
    stages.run("reload", lambda: _reload(patient, done, after))
    if export_macs is not None:
        stages.run("export", lambda: _exported(patient, done, after, export_macs))
    stages.run("backward", lambda: _backward(patient, done))
    plan = done.plan
    return Cell(
        method=method,
        outcome=made.outcome,
        kept=round(plan.after.macs / plan.before.macs, 4),
        reachable=made.reachable,
        note=made.note,
        checks=stages.checks,
    )


def _made(patient: Patient, method: str) -> Attempt:
    if method == NARROW:
        return halved(patient.model, patient.sized.inputs)
    return attempt(patient.model, patient.sized.inputs, method)


def _unchanged(patient: Patient) -> None:
    if digest(patient.model) != patient.digest:
        raise Wrong("the caller's model changed")


def _forward(patient: Patient, done: convsurgeon.Conversion) -> Ran:
    after = ran(done.model, patient.sized.inputs)
    varying = patient.subject.varying
    before = patient.sized.original.shapes(varying)
    if after.shapes(varying) != before:
        raise Wrong(f"outputs were {before}, now {after.shapes(varying)}")
    return after


def _counts(patient: Patient, done: convsurgeon.Conversion, after: Ran) -> None:
    plan, model = done.plan.after, done.model
    counted = convsurgeon.count(model, patient.sized.inputs)
    witness = (after.macs, params(model))
    if (counted.macs, counted.params) != witness:
        raise Wrong(f"count says {counted.macs:,} MACs, {counted.params:,} parameters; the witnesses {witness}")
    honest = patient.subject.varying and any("depends on the data" in note for note in done.report.notes)
    if (plan.macs, plan.params) != witness and not (honest and plan.params == witness[1]):
        raise Wrong(f"planned {plan.macs:,} MACs, {plan.params:,} parameters; the witnesses count {witness}")


def _target(done: convsurgeon.Conversion, most: float) -> None:
    plan = done.plan
    if plan.after.macs > most * plan.before.macs:
        raise Wrong(f"{plan.after.macs / plan.before.macs:.2%} of the MACs kept, at most {most:.2%} asked for")


def _reload(patient: Patient, done: convsurgeon.Conversion, after: Ran | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        again = convsurgeon.load(done.save(Path(folder) / "saved"), model=patient.model)
    ours, theirs = state_of(done.model), state_of(again)
    unequal = [name for name in ours if name not in theirs or not _same(ours[name], theirs[name])]
    if unequal or len(ours) != len(theirs):
        raise Wrong(f"the state is not equal after loading, first {next(iter(unequal), 'a missing name')}")
    if after is not None and not outputs_equal(after, ran(again, patient.sized.inputs)):
        raise Wrong("outputs are not bit-equal after loading")


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    # NaN is equal to itself here.
    return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def _exported(patient: Patient, done: convsurgeon.Conversion, after: Ran | None, most_macs: int) -> None:
    """On the inputs of the other checks, or where those are dear on the smallest ones that run."""
    if after is None:
        raise LeftOut("it does not run")
    subject, size = patient.subject, patient.sized
    if after.macs <= most_macs:
        exported(subject.library, done.model, patient.model, size.inputs, after)
        return
    try:
        after = run_at(done.model, subject, size.smallest)
        resize(subject, patient.model, size.smallest)
        exported(subject.library, done.model, patient.model, subject.inputs(1, size.smallest), after)
    finally:
        for model in (done.model, patient.model):
            resize(subject, model, size.side)


def _backward(patient: Patient, done: convsurgeon.Conversion) -> None:
    """Every parameter of a swapped or narrowed layer learns wherever the convolution it stands for did."""
    if isinstance(patient.trained, str):
        raise LeftOut(patient.trained)
    side, before = patient.trained
    model = done.model
    step(model, patient.subject.for_training(TRAINING_BATCH, side))
    now = graded(model)
    for layer in done.plan.layers:
        if layer.action not in ("replaced", "narrowed") or f"{layer.name}.weight" not in before:
            continue
        own = {f"{layer.name}.{name}" for name, _ in model.get_submodule(layer.name).named_parameters()}
        if missing := sorted(own - now):
            raise Wrong(f"{missing[0]} gets no gradient, though {layer.name}.weight of the original does")
