"""From a problem to a plan: with the times that are known, or measured ones where it asks for them."""

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
from convsurgeon.runtimes.registry import Runtime, find_runtime, require

__all__ = ["latencies_on_disk", "planned_by", "timed_inputs", "timed_planning", "timekeeper"]


def planned_by(patient: Patient, problem: Problem, progress: Progress) -> Plan:
    """The plan of a problem.

    A latency target, or ``time_layers``, times every candidate on this machine (cached; see ``cache_directory``) and
    measures the planned network. Times that earlier runs left there for all candidates veto slower swaps, too.

    Raises:
        TargetError, NothingToConvert: see ``make_plan``, ``plan_in_time``.
        UsageError: a runtime that is not installed.
    """
    if problem.timed:
        planning, keeper = timed_planning(patient, problem)
        return plan_in_time(planning, keeper, cache_directory(), progress)
    return make_plan(problem, latencies_on_disk(patient, problem))


def timed_planning(patient: Patient, problem: Problem) -> tuple[TimedPlanning, Timekeeper]:
    """A problem whose layers are to be timed, and who reads the clock.

    Raises:
        UsageError: a runtime that is not installed.
    """
    runtime = find_runtime(problem.recipe.runtime)
    require(runtime)
    return TimedPlanning(patient.model, timed_inputs(patient, problem.recipe), problem), timekeeper(runtime)


def latencies_on_disk(patient: Patient, problem: Problem) -> Latencies | None:
    """Times from earlier runs, where all that this plan could ask for are there, and the recipe heeds them."""
    runtime = find_runtime(problem.recipe.runtime)
    if problem.recipe.allow_slower or runtime.available() is not None:
        return None
    if not any(cache_directory().glob("latency-*.json")):
        return None
    inputs = timed_inputs(patient, problem.recipe)
    return known_latencies(patient.model, inputs, problem.choices, timekeeper(runtime), cache_directory())


def timekeeper(runtime: Runtime) -> Timekeeper:
    """What reads the clock when plans are timed."""
    return Bench(runtime)


def timed_inputs(patient: Patient, settings: Recipe) -> Inputs:
    """The inputs of one timed forward."""
    if settings.latency_batch is None:
        return patient.inputs
    return rebatched(patient.inputs, settings.latency_batch)
