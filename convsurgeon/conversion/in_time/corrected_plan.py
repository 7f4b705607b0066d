"""Plan, build, measure, correct, plan again: until the measured network is where the target wants it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.copies import duplicate
from convsurgeon.base.devices import require_weights
from convsurgeon.base.errors import NothingToConvert, TargetError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress
from convsurgeon.conversion.in_time.latency_file import LatencyFile, entry_key
from convsurgeon.conversion.in_time.layer_calls import LayerCase, layer_calls
from convsurgeon.conversion.in_time.layer_times import LayerTimes, time_layers, wanted_specs
from convsurgeon.conversion.in_time.narrowed_times import NarrowedTimes, changeable, time_widths
from convsurgeon.conversion.in_time.timekeeper import Call, Timekeeper
from convsurgeon.families.family import Spec
from convsurgeon.planning.latencies import Latencies, worth_timing
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.reach import least_share
from convsurgeon.planning.targets import Target, human_ms
from convsurgeon.runtimes.machine import busy
from convsurgeon.runtimes.timer import Spread
from convsurgeon.surgery.operate import operate
from convsurgeon.survey.sites import Site

__all__ = ["MOST_ROUNDS", "TOLERANCE", "TimedPlanning", "measured_latencies", "measured_plan", "plan_in_time"]

# In shares of the original's latency: what a measured network may lie off its target.
TOLERANCE = 0.05
MOST_ROUNDS = 4
# A network that shows none of what its layers save: planning with less would ask for the impossible.
LEAST_REALISED = 0.05
# Together, layers may save up to so many times what they save alone: int8 layers of a fast network are timed with the
# quantising of their inputs, which the network does not do. A target beyond that is not tried.
MOST_REALISED = 2.0


@dataclass(frozen=True)
class TimedPlanning:
    """A problem whose plan is made of measured times: of this model, on these inputs."""

    model: nn.Module
    inputs: Inputs
    problem: Problem

    @property
    def targets(self) -> tuple[Target, ...]:
        """The latency targets."""
        return tuple(target for target in self.problem.targets if target.metric == "latency")


def plan_in_time(task: TimedPlanning, keeper: Timekeeper, directory: Path | None, progress: Progress) -> Plan:
    """Time the layers, plan, and measure the planned network against the original.

    With a latency target, plans that miss it by more than 5 points are corrected by what the measurement showed and
    made again, at most four times; the least damaging one that meets the target stands. Times of narrowed layers and
    of what stands in for dropped ones are estimates: where they did not hold at once, swaps alone are planned, too.

    Raises:
        ModelLoadError: the model has no weights to run (meta device).
        TargetError: the target can't be reached, or was not, with what was.
        NothingToConvert: no swap pays in time; the message holds the reasons.
    """
    note = busy()
    latencies = measured_latencies(task, keeper, directory, progress)
    tried, reason = _corrected(task, latencies, keeper, progress)
    if task.problem.reshapes and tried and (reason is not None or len(tried) > 1):
        swaps = replace(task, problem=task.problem.swapping())
        tried += _corrected(swaps, latencies, keeper, progress)[0]
    best = _best(tried, task.targets, reason)
    return best.model_copy(update={"notes": (*best.notes, note)}) if note else best


def _corrected(
    task: TimedPlanning, latencies: Latencies, keeper: Timekeeper, progress: Progress
) -> tuple[list[Plan], UsageError | None]:
    """The plans that were measured, and why there are no more of them where that is an error."""
    tried: list[Plan] = []
    latencies = _reaching(task, latencies)
    for number in range(1, MOST_ROUNDS + 1):
        progress("measuring plans", number - 1, MOST_ROUNDS, "")
        try:
            plan = make_plan(task.problem, latencies)
        except (TargetError, NothingToConvert) as reason:
            return tried, reason
        if tried and _choice(plan) == _choice(tried[-1]):
            break
        plan = measured_plan(task, plan, keeper, number)
        tried.append(plan)
        excess = _excess(plan, task.targets)
        if excess is None or abs(excess) <= TOLERANCE:
            break
        latencies = replace(latencies, realised=_next_realised(tried, task.targets))
    progress("measuring plans", MOST_ROUNDS, MOST_ROUNDS, "")
    return tried, None


def _reaching(task: TimedPlanning, latencies: Latencies) -> Latencies:
    """With as much realised as the targets need, so that the fastest network is measured before they are refused."""
    if not task.targets or latencies.total_ns is None:
        return latencies
    limit = min(target.limit(task.problem.survey.total, latencies.total_ns) for target in task.targets)
    most = (1 - least_share(task.problem, "latency", latencies)) * latencies.total_ns
    # A little more, since the solver counts in whole nanoseconds.
    needed = 1.0001 * (latencies.total_ns - limit) / most if most > 0 else math.inf
    return replace(latencies, realised=needed) if 1 < needed <= MOST_REALISED else latencies


def _choice(plan: Plan) -> object:
    """What is done to the network."""
    return [row.spec for row in plan.layers], [row.kept for row in plan.streams], [row.action for row in plan.blocks]


def measured_latencies(
    task: TimedPlanning, keeper: Timekeeper, directory: Path | None, progress: Progress
) -> Latencies:
    """The time of every candidate at every layer, and of the whole network; ``directory`` keeps those of layers.

    Raises:
        ModelLoadError: the model has no weights to run (meta device).
    """
    require_weights(task.model, "timed")
    copy = duplicate(task.model).eval()
    place = keeper.place(copy)
    file = LatencyFile(directory, place)
    choices = worth_timing(task.problem.choices)
    may_change = changeable(task.problem)
    timed = [choice.site for choice in choices if choice.options or choice.site.name in may_change]
    cases = layer_calls(copy, task.inputs, timed)

    time_layers(copy, wanted_specs(choices, cases), keeper, file, progress)
    time_widths(copy, task.problem, cases, keeper, file, progress)
    calls = [Call(copy.get_submodule(name), case, times) for name in cases for case, times in cases[name].items()]
    total, alone = keeper.whole(copy, task.inputs, calls)
    known = {(choice.site.name, option.spec) for choice in choices for option in choice.options}
    times = LayerTimes(cases, file.entries, _scale(alone, cases, file))
    whole = {choice.site.name: choice for choice in choices}
    at_widths = NarrowedTimes(times, whole)

    def of(site: Site, spec: Spec | None) -> int | None:
        # What the file happens to know beyond this menu must not change the plan.
        if spec is not None and site.shape == whole[site.name].site.shape and (site.name, spec) not in known:
            return None
        return at_widths.of(site, spec)

    return Latencies(place, batch_of(task.inputs), of, total.median_ns)


def _scale(alone: Spread, cases: Mapping[str, Counter[LayerCase]], file: LatencyFile) -> float:
    """The time of all layers one by one, taken beside the network, over the sum of their times in the file.

    A busy machine stretches a long forward more than a short layer; without this the layers would seem to be a smaller
    part of the network than they are.
    """
    conv = entry_key(None)
    kept = sum(
        times * file.entries[case.key()][conv].least_ns for calls in cases.values() for case, times in calls.items()
    )
    return alone.median_ns / kept if kept else 1.0


def measured_plan(task: TimedPlanning, plan: Plan, keeper: Timekeeper, number: int = 1) -> Plan:
    """The plan, the ``number``-th of its kind, with its network's latency, measured in turn with the original's."""
    if plan.latency is None or not plan.changed:
        return plan
    original, planned = duplicate(task.model).eval(), operate(task.model, plan, seed=task.problem.recipe.seed).eval()
    before, after = keeper.networks([original, planned], task.inputs)
    found = {"measured_before_ns": before.median_ns, "measured_after_ns": after.median_ns, "rounds": number}
    return plan.model_copy(update={"latency": plan.latency.model_copy(update=found)})


def _excess(plan: Plan, targets: Sequence[Target]) -> float | None:
    """Measured latency over the tightest target, in shares of the original's; negative below it; None without one."""
    found = plan.latency
    if found is None or found.measured_after_ns is None or not found.measured_before_ns:
        return None
    before, after = found.measured_before_ns, found.measured_after_ns
    limits = [target.limit(plan.before.cost(), before) for target in targets]
    return (after - min(limits)) / before if limits else None


def _next_realised(tried: Sequence[Plan], targets: Sequence[Target]) -> float:
    """What the last plan showed; halfway, in ratio, between the nearest plans that met and that missed the target where
    it lies outside of these: layers that are timed alone may say so little that plans jump from one side to the other.
    """
    found = _realised(tried[-1])
    used = [(plan.latency.realised, _excess(plan, targets) or 0.0) for plan in tried if plan.latency is not None]
    met = max((share for share, excess in used if excess <= 0), default=None)
    missed = min((share for share, excess in used if excess > 0), default=None)
    if met is None or missed is None or met < found < missed:
        return found
    return math.sqrt(met * missed)


def _realised(plan: Plan) -> float:
    """The share of what the layers save that the whole network showed."""
    found = plan.latency
    saved = sum(row.latency.before_ns - row.latency.after_ns for row in plan.layers if row.latency is not None)
    if found is None or found.ratio is None or saved <= 0:
        return 1.0
    return max(LEAST_REALISED, (1 - found.ratio) * found.before_ns / saved)


def _best(tried: list[Plan], targets: Sequence[Target], reason: UsageError | None) -> Plan:
    """The least damaging of the plans that meet their target; ``reason`` is why no more were made."""
    met = [plan for plan in tried if (_excess(plan, targets) or 0.0) <= TOLERANCE]
    if met:
        return min(met, key=lambda plan: plan.damage)
    if reason is not None:
        raise reason
    closest = min(tried, key=lambda plan: _excess(plan, targets) or 0.0)
    raise TargetError(_missed(closest, len(tried), targets))


def _missed(closest: Plan, rounds: int, targets: Sequence[Target]) -> str:
    found, text = closest.latency, ", ".join(target.text for target in targets)
    if found is None or found.measured_after_ns is None or found.measured_before_ns is None:
        return f"target {text} was not measured."
    return (
        f"target {text} was not met by {rounds} planned network{'s' if rounds > 1 else ''}: the closest took "
        f"{human_ms(found.measured_after_ns)} of {human_ms(found.measured_before_ns)} ({found.ratio:.1%}), more than "
        f"{TOLERANCE:.0%} of the original's over the target ({found.place.describe()}, batch {found.batch}). "
        "Raise the target, or time on an idle machine."
    )
