"""The examination of one network: build, size, inspect, then every method through every stage."""

from __future__ import annotations

import copy
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import convsurgeon
from compatibility.calibrated import calibrated
from compatibility.conversions import Attempt, attempt
from compatibility.exporting import exported
from compatibility.narrowing import NARROW, halved, narrowed
from compatibility.quick_init import quick_init
from compatibility.records import Cell, NetworkRow
from compatibility.sizes import Sized, run_at, sized
from compatibility.stages import LeftOut, Stages, Wrong
from compatibility.subjects import Subject
from compatibility.training import graded, step
from compatibility.witness import (
    Ran,
    convolutions,
    digest,
    outputs_equal,
    params,
    ran,
    state_of,
    wide_convolutions,
)

__all__ = ["Settings", "examine"]

_BATCH = 2  # a batch norm in train mode needs two values, also where a map is one pixel


@dataclass(frozen=True)
class Settings:
    """What is run: the methods, the MACs above which inputs are reduced (further for the export), the limits.

    ``seconds`` of CPU time and ``gib`` of memory bound one network's whole examination.
    """

    methods: tuple[str, ...] = ("compconv", "igc", "dgconv", "spatial", "tucker", "auto", NARROW)
    most_macs: int = 20_000_000_000
    export_method: str = "auto"
    export_macs: int = 2_000_000_000
    seconds: int = 900
    gib: int = 22
    calibrated: bool = True


@dataclass(frozen=True)
class _Patient:
    """A network that was built and runs, and what the original does."""

    subject: Subject
    model: nn.Module
    sized: Sized
    digest: str
    trained: tuple[int, frozenset[str]] | str


def examine(subject: Subject, settings: Settings, at: Callable[[str], None] = lambda _: None) -> NetworkRow:
    """Everything about one network; ``at`` is told each stage before it starts."""
    start = time.process_time()
    stages = Stages(at)
    row: dict[str, Any] = {"library": subject.library, "name": subject.name, "versions": versions(subject.library)}
    model = stages.run("build", lambda: _built(subject))
    size = None if model is None else stages.run("run", lambda: sized(model, subject, settings.most_macs))
    cells: list[Cell] = []
    if model is not None and size is not None:
        row |= _facts(subject, model, size)
        stages.run("inspect", lambda: _inspected(model, size))
        trained = stages.run("training step", lambda: _trained(model, subject, size)) or "no training step"
        patient = _Patient(subject, model, size, digest(model), trained)
        if settings.calibrated:
            stages.run("calibrated", lambda: _at_smallest(calibrated, model, subject, size))
        if NARROW in settings.methods:
            stages.run("narrowed", lambda: _at_smallest(narrowed, model, subject, size))
        cells = [_cell(patient, method, settings, at) for method in settings.methods]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = round(time.process_time() - start, 1)
    return NetworkRow(**row, checks=stages.checks, cells=tuple(cells), seconds=seconds, peak_mib=peak)


def versions(library: str) -> dict[str, str]:
    """Of convsurgeon, torch and the library."""
    return {name: version(name) for name in ("convsurgeon", "torch", library)}


def _built(subject: Subject) -> nn.Module:
    torch.manual_seed(0)
    with quick_init():
        return subject.build().eval()


def _facts(subject: Subject, model: nn.Module, size: Sized) -> dict[str, Any]:
    leaves = torch.utils._pytree.tree_leaves(size.inputs)
    shapes = [list(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return {
        "inputs": ", ".join(map(str, shapes)),
        "reduced": size.side != subject.sides[0],
        "macs": size.original.macs,
        "params": params(model),
        "convolutions": len(convolutions(model)),
        "wide": len(wide_convolutions(model)),
    }


def _inspected(model: nn.Module, size: Sized) -> None:
    found = convsurgeon.inspect(model, size.inputs)
    rows = {name for site in found.sites for name in (site.name, *site.aliases)}
    if missing := sorted(set(convolutions(model)) - rows):
        raise Wrong(f"{len(missing)} convolutions have no row, first {missing[0]}")
    if (found.total.macs, found.total.params) != (size.original.macs, params(model)):
        raise Wrong(
            f"inspect counts {found.total.macs:,} MACs and {found.total.params:,} parameters, "
            f"the witnesses {size.original.macs:,} and {params(model):,}"
        )


def _trained(model: nn.Module, subject: Subject, size: Sized) -> tuple[int, frozenset[str]]:
    """The smallest side at which the original trains, and the parameters that get a gradient there.

    Raises:
        LeftOut: the original itself does not train on such inputs.
    """
    reasons = []
    for side in sorted({size.smallest, size.side, subject.sides[0]}):
        twin = copy.deepcopy(model)
        try:
            step(twin, subject.for_training(_BATCH, side))
        except Exception as error:
            # Some forwards are not made for training at this size, or at all, and say so in any words.
            reasons.append(f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}")
            continue
        return side, graded(twin)
    raise LeftOut(f"the original does not train on such inputs: {reasons[-1]}")


def _at_smallest(check: Callable[..., None], model: nn.Module, subject: Subject, size: Sized) -> None:
    """A check on the smallest inputs that run."""
    try:
        _resize(subject, model, size.smallest)
        check(model, subject.inputs(1, size.smallest), varying=subject.varying)
    finally:
        _resize(subject, model, size.side)


def _cell(patient: _Patient, method: str, settings: Settings, at: Callable[[str], None]) -> Cell:
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
    if method == settings.export_method:
        stages.run("export", lambda: _exported(patient, done, after, settings))
    stages.run("backward", lambda: _backward(patient, done))
    plan = done.plan
    return Cell(
        method=method,
        outcome=made.outcome,
        replaced=len(plan.replaced),
        kept=plan.after.macs / plan.before.macs,
        reachable=made.reachable,
        note=made.note,
        checks=stages.checks,
    )


def _made(patient: _Patient, method: str) -> Attempt:
    if method == NARROW:
        return halved(patient.model, patient.sized.inputs)
    return attempt(patient.model, patient.sized.inputs, method)


def _unchanged(patient: _Patient) -> None:
    if digest(patient.model) != patient.digest:
        raise Wrong("the caller's model changed")


def _forward(patient: _Patient, done: convsurgeon.Conversion) -> Ran:
    after = ran(done.model, patient.sized.inputs)
    varying = patient.subject.varying
    before = patient.sized.original.shapes(varying)
    if after.shapes(varying) != before:
        raise Wrong(f"outputs were {before}, now {after.shapes(varying)}")
    return after


def _counts(patient: _Patient, done: convsurgeon.Conversion, after: Ran) -> None:
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


def _reload(patient: _Patient, done: convsurgeon.Conversion, after: Ran | None) -> None:
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


def _exported(patient: _Patient, done: convsurgeon.Conversion, after: Ran | None, settings: Settings) -> None:
    """On the inputs of the other checks, or where those are dear on the smallest ones that run."""
    if after is None:
        raise LeftOut("it does not run")
    subject, size = patient.subject, patient.sized
    if after.macs <= settings.export_macs:
        exported(subject.library, done.model, patient.model, size.inputs, after)
        return
    try:
        after = run_at(done.model, subject, size.smallest)
        _resize(subject, patient.model, size.smallest)
        exported(subject.library, done.model, patient.model, subject.inputs(1, size.smallest), after)
    finally:
        for model in (done.model, patient.model):
            _resize(subject, model, size.side)


def _resize(subject: Subject, model: nn.Module, side: int) -> None:
    """Tell a network that resizes its inputs itself."""
    if subject.sized is not None:
        subject.sized(model, side)


def _backward(patient: _Patient, done: convsurgeon.Conversion) -> None:
    """Every parameter of a swapped or narrowed layer learns wherever the convolution it stands for did."""
    if isinstance(patient.trained, str):
        raise LeftOut(patient.trained)
    side, before = patient.trained
    model = done.model
    step(model, patient.subject.for_training(_BATCH, side))
    now = graded(model)
    for layer in done.plan.layers:
        if layer.action not in ("replaced", "narrowed") or f"{layer.name}.weight" not in before:
            continue
        own = {f"{layer.name}.{name}" for name, _ in model.get_submodule(layer.name).named_parameters()}
        if missing := sorted(own - now):
            raise Wrong(f"{missing[0]} gets no gradient, though {layer.name}.weight of the original does")
