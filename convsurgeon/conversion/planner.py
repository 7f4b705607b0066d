"""From a problem to a plan, with times from earlier runs, or with new ones where the problem asks for them."""

from __future__ import annotations

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress
from convsurgeon.conversion.in_time import Bench, TimedPlanning, Timekeeper, known_latencies, plan_in_time
from convsurgeon.conversion.patient import Patient
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.recipe import Recipe
from convsurgeon.runtimes.machine import dtype_of
from convsurgeon.runtimes.registry import Runtime, find_runtime, require, timed_precision

__all__ = ["latencies_on_disk", "planned_by", "timed_inputs", "timed_planning", "timekeeper"]


def planned_by(patient: Patient, problem: Problem, progress: Progress) -> Plan:
    """The plan of a problem.

    A latency target, or ``time_layers``, times every candidate on this machine (cached; see ``cache_directory``) and
    measures the planned network. Times that earlier runs left there for all candidates veto slower swaps, too.

    Raises:
        TargetError, NothingToConvert: see ``make_plan``, ``plan_in_time``.
        UsageError: a runtime that is not installed, or a precision that it lacks.
    """
    if problem.timed:
        planning, keeper = timed_planning(patient, problem)
        return plan_in_time(planning, keeper, cache_directory(), progress)
    return make_plan(problem, latencies_on_disk(patient, problem))


def timed_planning(patient: Patient, problem: Problem) -> tuple[TimedPlanning, Timekeeper]:
    """A problem whose layers are to be timed, and who reads the clock.

    Raises:
        UsageError: a runtime that is not installed, or a precision that it lacks.
    """
    runtime = find_runtime(problem.recipe.runtime)
    require(runtime)
    task = TimedPlanning(patient.model, timed_inputs(patient, problem.recipe), problem)
    return task, timekeeper(runtime, _precision(runtime, patient, problem.recipe))


def latencies_on_disk(patient: Patient, problem: Problem) -> Latencies | None:
    """Times from earlier runs, where all that this plan could ask for are there, and the recipe heeds them.

    Raises:
        UsageError: a precision that the runtime lacks.
    """
    runtime = find_runtime(problem.recipe.runtime)
    if problem.recipe.allow_slower or runtime.available() is not None:
        return None
    precision = _precision(runtime, patient, problem.recipe)
    if not any(cache_directory().glob("latency-*.json")):
        return None
    inputs = timed_inputs(patient, problem.recipe)
    return known_latencies(patient.model, inputs, problem.choices, timekeeper(runtime, precision), cache_directory())


def timekeeper(runtime: Runtime, precision: str) -> Timekeeper:
    """What reads the clock when plans are timed."""
    return Bench(runtime, precision)


def _precision(runtime: Runtime, patient: Patient, settings: Recipe) -> str:
    return timed_precision(runtime, settings.precision, dtype_of(patient.model))


def timed_inputs(patient: Patient, settings: Recipe) -> Inputs:
    """The inputs of one timed forward."""
    if settings.latency_batch is None:
        return patient.inputs
    return rebatched(patient.inputs, settings.latency_batch)
