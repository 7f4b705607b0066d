"""Problems with their candidates' damage measured: once for one model, whatever is planned of it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.progress import Progress
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.dropping import with_blocks
from convsurgeon.conversion.narrowing import fully_narrowed, with_streams
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.planner import latencies_on_disk
from convsurgeon.conversion.too_few_inputs import refuse_too_few
from convsurgeon.families.family import Spec
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Choices, Damage
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.planning.reach import within_reach
from convsurgeon.planning.recipe import Recipe
from convsurgeon.survey.sites import Site
from convsurgeon.transfer import Calibration, DamageSettings, DamageTable, measure_damage
from convsurgeon.transfer.gains import Gains, measure_gains

__all__ = ["posed"]


def posed(
    patient: Patient, recipes: Sequence[Recipe], data: Data, progress: Progress, *, binding: bool = True
) -> tuple[Problem, ...]:
    """What each recipe asks of a model; candidates are measured together, in one go through the calibration inputs.

    Unless ``binding``, targets out of reach are not refused here. Where nothing is to be chosen, weights are random or
    there are no inputs, damage stays a data-free proxy.

    Raises:
        UnknownName, TargetError: see ``pose``, ``make_plan``, ``refuse_too_few``.
    """
    calibrated = data.calibration is not None and not patient.untrained
    asked = (recipe.with_moves(calibrated=calibrated) for recipe in recipes)
    problems = tuple(pose(patient.survey, recipe, model=patient.name) for recipe in asked)
    if not patient.untrained:
        problems = tuple(problem.fitted() for problem in problems)
        for problem in problems if binding and calibrated else ():
            _refuse_out_of_reach(patient, problem)
        problems = _with_damage(patient, problems, data, binding, progress)
    calibration = calibration_of(patient, data)
    return tuple(
        _with_other_moves(patient, problem, calibration, progress) if problem.recipe.has_other_moves else problem
        for problem in problems
    )


def _with_other_moves(
    patient: Patient, problem: Problem, calibration: Calibration | None, progress: Progress
) -> Problem:
    problem = with_streams(patient.model, problem, calibration, progress)
    drops = "drop" in problem.moves
    return with_blocks(patient.model, problem, calibration, progress) if drops else problem


def calibration_of(patient: Patient, data: Data) -> Calibration | None:
    """The calibration inputs, read as what this model takes."""
    return None if data.calibration is None else Calibration.of(data.calibration, patient.inputs)


def _with_damage(
    patient: Patient, problems: tuple[Problem, ...], data: Data, binding: bool, progress: Progress
) -> tuple[Problem, ...]:
    open_ones = [problem for problem in problems if _is_open(problem)]
    if data.calibration is None or not open_ones:
        return problems
    calibration = Calibration.of(data.calibration, patient.inputs)
    table = _measured(patient, open_ones, calibration, binding, progress)
    gains = _gains(patient, open_ones, table, calibration, progress)
    return tuple(
        problem.rated(_damage(problem, table, gains)) if _is_open(problem) else problem for problem in problems
    )


def _refuse_out_of_reach(patient: Patient, problem: Problem) -> None:
    """Refuse a target that all candidates together can't reach: measuring only takes some of them away.

    How far drops reach is not known before they are measured, so that nothing is refused where they are asked for.

    Raises:
        TargetError: see ``make_plan``.
    """
    if "drop" in problem.moves:
        return
    boldest = fully_narrowed(patient.model, problem)
    if not within_reach(boldest):
        make_plan(replace(boldest, targets=tuple(t for t in problem.targets if t.metric != "latency")))


def _is_open(problem: Problem) -> bool:
    return problem.solved and "swap" in problem.moves


def _measured(
    patient: Patient, problems: Sequence[Problem], data: Calibration, binding: bool, progress: Progress
) -> DamageTable:
    alone = problems[0] if binding and len(problems) == 1 else replace(problems[0], targets=())
    return measure_damage(
        patient.model,
        _requests(problems),
        data,
        fingerprint=patient.survey.fingerprint(),
        norms=patient.survey.norms(),
        settings=DamageSettings(seed=alone.recipe.seed, directory=cache_directory()),
        costs=_costs(patient, problems),
        counted=partial(refuse_too_few, alone, data),
        progress=progress,
    )


def _costs(patient: Patient, problems: Sequence[Problem]) -> dict[str, dict[Spec, tuple[int, ...]]] | None:
    """MACs and parameters of each candidate; None where time counts as well, or for several problems."""
    problem = problems[0]
    if len(problems) > 1 or problem.timed or latencies_on_disk(patient, problem) is not None:
        return None
    return {c.site.name: {o.spec: (o.cost.macs, o.cost.params) for o in c.options} for c in problem.choices}


def _requests(problems: Sequence[Problem]) -> dict[str, list[Spec]]:
    """The specs of all problems by site, each once."""
    wanted: dict[str, dict[Spec, None]] = {}
    for choice in (choice for problem in problems for choice in problem.choices if choice.options):
        wanted.setdefault(choice.site.name, {}).update(dict.fromkeys(option.spec for option in choice.options))
    return {name: list(specs) for name, specs in wanted.items()}


def _gains(
    patient: Patient, problems: Sequence[Problem], table: DamageTable, data: Calibration, progress: Progress
) -> Gains:
    """What errors at the layers of which anything is known do to the network's outputs."""
    told = dict.fromkeys(choice.site.name for problem in problems for choice in problem.choices if _told(choice, table))
    return measure_gains(
        patient.model,
        list(told),
        data,
        fingerprint=patient.survey.fingerprint(),
        directory=cache_directory(),
        progress=progress,
    )


def _told(choice: Choices, table: DamageTable) -> bool:
    return any(table.trusted(choice.site.name, option.spec) is not None for option in choice.options)


def _damage(problem: Problem, table: DamageTable, gains: Gains) -> Damage:
    if not any(_told(choice, table) for choice in problem.choices):
        return Damage(f"{PROXY.name}, since the calibration inputs are too few to measure damage", PROXY.of)

    def of(site: Site, spec: Spec) -> float | None:
        error = table.trusted(site.name, spec)
        return None if error is None else gains.at_outputs(site.name, error)

    where = "of the network's outputs that each choice leaves" if gains.known else "of each layer's output"
    return Damage(f"measured: relative error {where}, summed", of, at_outputs=gains.known)
