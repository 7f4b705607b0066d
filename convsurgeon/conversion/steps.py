"""The steps of a conversion, one after the other: survey → damage → plan → surgery → weights → verify → report."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.advice import fuse_first, only_cut
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.damage import calibration_of, posed
from convsurgeon.conversion.data import NO_DATA, Data
from convsurgeon.conversion.fidelity import judged
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.planner import planned_by
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.recipe import Recipe
from convsurgeon.report.record import Fidelity, Report
from convsurgeon.surgery.operate import narrowed, swapped
from convsurgeon.surgery.verify import verify
from convsurgeon.transfer import Inherited, InheritSettings, inherit

__all__ = ["Fitted", "carry_out", "concluded", "fitted", "planned"]


@dataclass(frozen=True)
class Fitted:
    """The planned network with its weights; ``words`` say how the new layers got theirs."""

    network: nn.Module
    carried: Inherited
    words: str


def planned(patient: Patient, settings: Recipe, data: Data = NO_DATA, *, progress: Progress | None = None) -> Plan:
    """The plan that a recipe without a floor asks for.

    Where the solver has a choice to make and calibration inputs are given, its objective is damage measured on them
    (cached; see ``cache_directory``); otherwise a data-free proxy.

    Raises:
        UnknownName, TargetError, NothingToConvert, UsageError: see ``posed``, ``planned_by``.
    """
    tell = progress or silent
    (problem,) = posed(patient, [settings], data, tell)
    return planned_by(patient, problem, tell)


def carry_out(
    patient: Patient, plan: Plan, data: Data = NO_DATA, *, seed: int, refine: int = 0, progress: Progress | None = None
) -> Conversion:
    """Surgery, weight transfer, verification and report of one plan.

    Random weights are not fitted: the new layers stay as the seed made them. ``refine`` gradient steps follow each
    layer's closed-form fit on calibration inputs.

    Raises:
        ModelRunError: the converted model fails where the original ran.
        UsageError: calibration inputs of the wrong kind, or none.
    """
    tell = progress or silent
    done = fitted(patient, plan, data, seed=seed, refine=refine, progress=tell)
    fidelity, doubts = judged(patient.model, done.network, done.carried, patient.weights, data.evaluation, tell)
    return concluded(patient, plan, done, data, fidelity, doubts)


def fitted(patient: Patient, plan: Plan, data: Data, *, seed: int, refine: int, progress: Progress) -> Fitted:
    """Surgery and weight transfer; errors as in ``carry_out``."""
    base = narrowed(patient.model, plan)
    network = swapped(base, plan, seed=seed)
    if patient.untrained:
        words = f"freshly initialised from seed {seed} (random weights are not fitted)"
        return Fitted(network, Inherited((), (), None), words)
    carried = inherit(
        patient.model,
        network,
        plan,
        calibration_of(patient, data),
        base=base,
        norms=patient.survey.norms(),
        judging=data.judging,
        settings=InheritSettings(seed=seed, refine_steps=refine),
        progress=progress,
    )
    if data.calibration is None:
        words = "fitted to the original's weights alone; --calibrate DIR (calibration= in Python) would keep far more"
    else:
        words = "fitted in closed form on calibration inputs"
        words += f", then by {refine} gradient steps a layer" if refine else ""
    return Fitted(network, carried, words)


def concluded(
    patient: Patient, plan: Plan, done: Fitted, data: Data, fidelity: Fidelity | None, doubts: list[str]
) -> Conversion:
    """Verification and report of a fitted network that was judged; ``doubts`` are notes about that."""
    carried = done.carried
    notes = verify(patient.model, done.network, plan, patient.survey, patient.inputs, carried.recalibrated)
    if data.preparation is not None and (doubt := data.preparation.doubt()) is not None:
        doubts = [doubt, *doubts]
    advice = fuse_first(patient.model, patient.survey, plan)
    if data.calibration is None:
        advice += only_cut(plan)
    # A plan that was made on the same inputs says so itself.
    said = (*doubts, *notes, *advice, *(note for note in carried.warnings if note not in plan.notes))
    report = Report(
        plan=plan,
        weights=patient.weights,
        inherited=done.words,
        notes=said,
        errors={site.name: site.held_back_error for site in carried.sites if site.held_back_error is not None},
        fidelity=fidelity,
        preparation=data.preparation,
    )
    return Conversion(done.network, plan, report, patient.rebuild)
