"""The steps of a conversion, one after the other: survey → plan → surgery → inherit → verify → report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.advice import fuse_first
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.fidelity import judged
from convsurgeon.conversion.in_time import Bench, TimedPlanning, Timekeeper, known_latencies, plan_in_time
from convsurgeon.conversion.narrowing import with_streams
from convsurgeon.conversion.too_few_inputs import refuse_too_few
from convsurgeon.families.family import Spec
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.preprocessing import Preparation
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Damage
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.planning.recipe import Recipe
from convsurgeon.report.record import Report
from convsurgeon.runtimes.registry import Runtime, find_runtime, require
from convsurgeon.surgery.operate import narrowed, swapped
from convsurgeon.surgery.verify import verify
from convsurgeon.survey.sites import Survey, survey
from convsurgeon.transfer import (
    Calibration,
    Costs,
    DamageSettings,
    Inherited,
    InheritSettings,
    inherit,
    measure_damage,
)

__all__ = ["Conversion", "Patient", "carry_out", "planned", "timekeeper"]


@dataclass(frozen=True)
class Patient:
    """A model on the table: what it is called with, what was found in it, where it and its weights come from.

    ``rebuild`` is what builds the architecture again; None for a caller's own object.
    """

    model: nn.Module
    inputs: Inputs
    survey: Survey
    weights: WeightsOrigin
    name: str = "model"
    rebuild: Rebuild | None = None

    @classmethod
    def admit(
        cls,
        model: nn.Module,
        inputs: Inputs,
        weights: WeightsOrigin,
        *,
        name: str = "model",
        rebuild: Rebuild | None = None,
    ) -> Patient:
        """Survey a model; it is untouched.

        Raises:
            ModelLoadError, ModelRunError: see ``sites.survey``.
        """
        return cls(model, inputs, survey(model, inputs), weights, name, rebuild)


def planned(
    patient: Patient,
    settings: Recipe,
    *,
    calibration: Iterable[Any] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The plan that a recipe asks for.

    A latency target, or ``time_layers``, times every candidate on this machine (cached; see ``cache_directory``) and
    measures the planned network. Times that earlier runs left there for all candidates veto slower swaps, too.

    Where the solver has a choice to make and calibration inputs are given, its objective is damage measured on them
    (cached; see ``cache_directory``); otherwise a data-free proxy.

    Raises:
        UnknownName, TargetError, NothingToConvert: see ``pose``, ``make_plan``, ``plan_in_time``, ``refuse_too_few``.
        UsageError: a runtime that is not installed.
    """
    tell = progress or silent
    problem = pose(patient.survey, settings, model=patient.name)
    if patient.weights.origin != "random":
        problem = problem.fitted()
    runtime = find_runtime(settings.runtime)
    if calibration is not None and patient.weights.origin != "random" and problem.targets and "swap" in settings.moves:
        untimed = not problem.timed and (settings.allow_slower or _known(patient, problem, runtime) is None)
        problem = problem.rated(_measured(patient, problem, calibration, _costs(problem) if untimed else None, tell))
    if settings.narrows:
        problem = with_streams(patient.model, problem, calibration_of(patient, calibration), tell)
    if problem.timed:
        require(runtime)
        planning = TimedPlanning(patient.model, _timed_inputs(patient, settings), problem)
        return plan_in_time(planning, timekeeper(runtime), cache_directory(), tell)
    return make_plan(problem, None if settings.allow_slower else _known(patient, problem, runtime))


def _known(patient: Patient, problem: Problem, runtime: Runtime) -> Latencies | None:
    """Times from earlier runs, where all that this plan could ask for are there."""
    if not any(cache_directory().glob("latency-*.json")) or runtime.available() is not None:
        return None
    inputs = _timed_inputs(patient, problem.recipe)
    return known_latencies(patient.model, inputs, problem.choices, timekeeper(runtime), cache_directory())


def timekeeper(runtime: Runtime) -> Timekeeper:
    """What reads the clock when plans are timed."""
    return Bench(runtime)


def _timed_inputs(patient: Patient, settings: Recipe) -> Inputs:
    if settings.latency_batch is None:
        return patient.inputs
    return rebatched(patient.inputs, settings.latency_batch)


def _costs(problem: Problem) -> dict[str, dict[Spec, tuple[int, ...]]]:
    """All that a candidate costs where nothing is timed."""
    return {c.site.name: {o.spec: (o.cost.macs, o.cost.params) for o in c.options} for c in problem.choices}


def _measured(
    patient: Patient,
    problem: Problem,
    calibration: Iterable[Any],
    costs: Mapping[str, Costs] | None,
    progress: Progress,
) -> Damage:
    choices, data = problem.choices, Calibration.of(calibration, patient.inputs)
    table = measure_damage(
        patient.model,
        {c.site.name: [option.spec for option in c.options] for c in choices if c.options},
        data,
        fingerprint=patient.survey.fingerprint(),
        norms=patient.survey.norms(),
        costs=costs,
        settings=DamageSettings(seed=problem.recipe.seed, directory=cache_directory()),
        counted=partial(refuse_too_few, problem, choices, problem.targets, data),
        progress=progress,
    )
    if not any(table.trusted(c.site.name, option.spec) for c in choices for option in c.options):
        return Damage(f"{PROXY.name}, since the calibration inputs are too few to measure damage", PROXY.of)
    return Damage(
        "measured: relative output error of each layer, summed", lambda site, spec: table.trusted(site.name, spec)
    )


def calibration_of(patient: Patient, calibration: Iterable[Any] | None) -> Calibration | None:
    """The calibration inputs, read as what this model takes."""
    return None if calibration is None else Calibration.of(calibration, patient.inputs)


def carry_out(
    patient: Patient,
    plan: Plan,
    *,
    seed: int,
    calibration: Iterable[Any] | None = None,
    refine: int = 0,
    judging: Callable[[], Iterable[Any]] | None = None,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None,
    preparation: Preparation | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Surgery, weight transfer, verification and report of one plan.

    Random weights are not fitted: the new layers stay as the seed made them. ``refine`` gradient steps follow each
    layer's closed-form fit on calibration inputs. ``judging`` gives further inputs, to judge agreement on only;
    ``preparation`` says how images became inputs. ``evaluation`` yields labelled batches
    (inputs [N, …], labels [N]) on which both models' top-1 accuracy is reported.

    Raises:
        ModelRunError: the converted model fails where the original ran.
        UsageError: calibration inputs of the wrong kind, or none.
    """
    base = narrowed(patient.model, plan)
    network = swapped(base, plan, seed=seed)
    if patient.weights.origin == "random":
        carried, words = (
            Inherited((), (), None),
            f"freshly initialised from seed {seed} (random weights are not fitted)",
        )
    else:
        carried = inherit(
            patient.model,
            network,
            plan,
            calibration_of(patient, calibration),
            base=base,
            norms=patient.survey.norms(),
            judging=judging,
            settings=InheritSettings(seed=seed, refine_steps=refine),
            progress=progress or silent,
        )
        words = (
            "fitted to the original's weights alone; --calibrate DIR (calibration= in Python) would keep far more"
            if calibration is None
            else "fitted in closed form on calibration inputs"
        )
        if refine and calibration is not None:
            words += f", then by {refine} gradient steps a layer"
    notes = verify(patient.model, network, plan, patient.survey, patient.inputs, carried.recalibrated)
    fidelity, doubts = judged(patient.model, network, carried, patient.weights, evaluation, progress or silent)
    if preparation is not None and preparation.source == "guessed":
        doubts.insert(0, preparation.describe())
    report = Report(
        plan=plan,
        weights=patient.weights,
        inherited=words,
        notes=(*doubts, *notes, *fuse_first(patient.model, patient.survey, plan), *carried.warnings),
        errors={site.name: site.held_back_error for site in carried.sites if site.held_back_error is not None},
        fidelity=fidelity,
        preparation=preparation,
    )
    return Conversion(network, plan, report, patient.rebuild)
