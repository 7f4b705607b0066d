"""One problem's plans by budget: each share of the minimised metric gives the least damaging network within it."""

from __future__ import annotations

import math
from fractions import Fraction

from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.errors import TargetError
from convsurgeon.base.progress import Progress
from convsurgeon.conversion.in_time import measured_latencies, measured_plan, plan_in_time
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.planner import latencies_on_disk, timed_planning
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.reach import least_share
from convsurgeon.planning.targets import Metric, Target

__all__ = ["SHARE_DIGITS", "Budgets", "reached"]

# Budgets are told apart to a thousandth of the original.
SHARE_DIGITS = 3
_STEPS = 10**SHARE_DIGITS
# The smallest share that is asked about.
_LEAST = 1
# How exactly a budget is looked up, in shares of itself: a guess needs no more.
_NEAR = 0.03


class Budgets:
    """Plans under a problem's own targets and a further one, which is a share of what is to be smallest."""

    def __init__(self, patient: Patient, problem: Problem, progress: Progress) -> None:
        """Time the layers, if the problem asks for that.

        Raises:
            UsageError: a runtime that is not installed.
            ModelLoadError: no weights to time.
        """
        self.problem, self.metric = problem, problem.recipe.minimise
        self._patient, self._progress = patient, progress
        self._latencies: Latencies | None
        if problem.timed:
            task, keeper = timed_planning(patient, problem)
            self._latencies = measured_latencies(task, keeper, cache_directory(), progress)
        else:
            self._latencies = latencies_on_disk(patient, problem)
        self._plans: dict[int, Plan | None] = {}

    def range(self) -> tuple[float, float]:
        """The smallest and the largest share of the metric that a plan can keep; 1 at the most where the problem has no
        targets of its own.

        Raises:
            TargetError: the problem's own targets can't be reached.
            NothingToConvert: nothing is eligible, or no swap pays in time.
        """
        # Raises with the reachable range where even this is too much to ask for.
        gentlest = make_plan(self.problem.within(self._target(_STEPS)), self._latencies)
        high = reached(gentlest, self.metric) if self.problem.targets else 1.0
        within = math.ceil(least_share(self.problem, self.metric, self._latencies) * _STEPS)
        if self._plan(within) is None:
            # Beside the problem's own targets less is to be had.
            low, within = within, _STEPS
            while within - low > _LEAST:
                middle = (low + within) // 2
                low, within = (low, middle) if self._plan(middle) is not None else (middle, within)
        return within / _STEPS, high

    def share_of_damage(self, damage: float, low: float, high: float) -> float:
        """About the smallest share between two whose plan does at most this damage."""
        below, above = (round(share * _STEPS) for share in (low, high))
        while above - below > max(1, above * _NEAR):
            middle = (below + above) // 2
            plan = self._plan(middle)
            if plan is not None and plan.damage <= damage:
                above = middle
            else:
                below = middle
        return above / _STEPS

    def plan(self, share: float) -> Plan:
        """The plan to try; where the problem has a latency target, its network is measured to meet that.

        Raises:
            TargetError: see ``plan_in_time``, or a share that is out of reach.
        """
        problem = self.problem.within(self._target(round(share * _STEPS)))
        if any(target.metric == "latency" for target in self.problem.targets):
            task, keeper = timed_planning(self._patient, problem)
            return plan_in_time(task, keeper, cache_directory(), self._progress)
        return self._plan(round(share * _STEPS)) or make_plan(problem, self._latencies)

    def measured(self, plan: Plan) -> Plan:
        """The plan with its network's time beside the original's, where layers were timed."""
        if plan.latency is None or plan.latency.measured_after_ns is not None:
            return plan
        task, keeper = timed_planning(self._patient, self.problem)
        return measured_plan(task, plan, keeper)

    def _plan(self, steps: int) -> Plan | None:
        if steps not in self._plans:
            try:
                self._plans[steps] = make_plan(self.problem.within(self._target(steps)), self._latencies)
            except TargetError:
                self._plans[steps] = None
        return self._plans[steps]

    def _target(self, steps: int) -> Target:
        share = Fraction(max(steps, _LEAST), _STEPS)
        return Target(f"{self.metric}={float(100 * share):g}%", self.metric, share=share)


def reached(plan: Plan, metric: Metric) -> float:
    """The share of the original's metric that a plan keeps; of the latency as predicted."""
    if metric != "latency":
        return float(getattr(plan.after, metric) / max(1, getattr(plan.before, metric)))
    return 1.0 if plan.latency is None else plan.latency.predicted_ns / max(1, plan.latency.before_ns)
