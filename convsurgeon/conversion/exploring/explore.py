"""Plan, fit, judge and time each network of a grid; damage is measured once for all of them."""

from __future__ import annotations

from dataclasses import replace

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import NothingToConvert, TargetError, UsageError
from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.damage import posed
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.exploring.exploration import Exploration
from convsurgeon.conversion.exploring.finished import Finished, FinishedFile
from convsurgeon.conversion.exploring.order import Order
from convsurgeon.conversion.judge import Judge
from convsurgeon.conversion.oddities import oddities
from convsurgeon.conversion.planner import planned_by, timed_planning
from convsurgeon.conversion.steps import fitted
from convsurgeon.families.family import Method
from convsurgeon.planning.grid import point_name
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.targets import Target
from convsurgeon.report.record import Timing
from convsurgeon.runtimes.machine import busy
from convsurgeon.surgery.operate import operate

__all__ = ["explored"]


def explored(order: Order, progress: Progress | None = None) -> Exploration:
    """All networks of the grid; those that an earlier run finished are taken as they are.

    Raises:
        UsageError: random weights, no calibration inputs, a floor or no input that nothing is fitted on.
        TargetError: no network of the grid can be had.
    """
    if order.patient.untrained:
        raise UsageError(
            "networks are compared by what they keep, and random weights keep nothing "
            f"({order.patient.weights.detail})."
        )
    if order.data.calibration is None:
        raise UsageError("networks are compared after a fit; pass --calibrate DIR (calibration= in Python).")
    if order.recipe.at_least:
        raise UsageError(
            f"an exploration has targets and no floor, and the recipe asks for at_least="
            f"{', '.join(floor.text for floor in order.recipe.at_least)}; leave that out of the recipe, or look for "
            "that network with 'convert'."
        )
    tell, odd = progress or silent, oddities(order.patient, order.data)
    judge = Judge(order.patient, order.data, tell)
    _refuse_unjudgeable(judge, order.data)
    run = _Run(order, judge, tell)
    run.all()
    if all(one.plan is None for one in run.finished.values()):
        reasons = dict.fromkeys(one.refused or "" for one in run.finished.values())
        raise TargetError(f"no network of the exploration can be had. {' '.join(reasons)}")
    return Exploration.of(order, run.finished, odd)


def _refuse_unjudgeable(judge: Judge, data: Data) -> None:
    if not judge.original.inputs:
        raise UsageError(
            "no input is left to judge on, since all are fitted on; calibrate on fewer (--images), or pass more."
        )
    if data.evaluation is not None and not judge.original.labelled:
        raise UsageError(
            "none of the labelled images can be judged on: the model is no classifier, or all of them are fitted on; "
            "pass others (--evaluate), or calibrate on fewer (--images)."
        )


class _Run:
    """One run over the grid."""

    def __init__(self, order: Order, judge: Judge, tell: Progress) -> None:
        self.order, self.judge, self.tell = order, judge, tell
        self.file = FinishedFile(cache_directory(), order.patient, order.recipe, order.refine, judge)
        self.finished: dict[tuple[str, str], Finished] = {}

    def all(self) -> None:
        """Every method at every target."""
        grid = self.order.grid
        open_methods = [method for method in grid.methods if any(self._open(method, t) for t in grid.targets)]
        problems = self._problems(open_methods)
        total, done = len(grid.methods) * len(grid.targets), 0
        for method in grid.methods:
            for target in grid.targets:
                self.tell("exploring", done, total, point_name(method, target))
                if self._open(method, target):
                    one = self._finish(replace(problems[method.name], targets=(target,)))
                    # What is too slow on a busy machine may be had the next time.
                    if one.plan is not None or target.metric != "latency":
                        self._keep(method, target, one)
                else:
                    one = self.file.entries[method.name][target.text]
                self.finished[method.name, target.text] = self._with_timing(method, target, one)
                done += 1
        self.tell("exploring", total, total, "")

    def _open(self, method: Method, target: Target) -> bool:
        return target.text not in self.file.entries.get(method.name, {})

    def _keep(self, method: Method, target: Target, one: Finished) -> None:
        self.file.add(method.name, {target.text: one})

    def _problems(self, methods: list[Method]) -> dict[str, Problem]:
        """Damage is measured here, once for the candidates of all methods."""
        order = self.order
        recipes = [
            order.recipe.model_copy(update={"method": method, "target": order.grid.targets}) for method in methods
        ]
        problems = posed(order.patient, recipes, order.data, self.tell, binding=False) if recipes else ()
        return {method.name: problem for method, problem in zip(methods, problems, strict=True)}

    def _finish(self, problem: Problem) -> Finished:
        order = self.order
        try:
            plan = planned_by(order.patient, problem, self.tell)
        except (TargetError, NothingToConvert) as error:
            return Finished(refused=str(error))
        data = replace(order.data, judging=None)
        done = fitted(order.patient, plan, data, seed=order.recipe.seed, refine=order.refine, progress=self.tell)
        judgement = self.judge.judged(done.network)
        fidelity = judgement.fidelity(done.carried.images)
        return Finished(plan=plan, fidelity=fidelity, doubts=tuple(judgement.doubts()))

    def _with_timing(self, method: Method, target: Target, one: Finished) -> Finished:
        """Timed on this machine, if that is asked for; what was timed elsewhere is timed again."""
        if not self.order.grid.latency or one.plan is None:
            return one.model_copy(update={"timing": None})
        timed = self._timed(one.plan, one.timing)
        if timed is not one.timing:
            one = one.model_copy(update={"timing": timed})
            self._keep(method, target, one)
        return one

    def _timed(self, plan: Plan, known: Timing | None) -> Timing:
        patient, recipe = self.order.patient, self.order.recipe
        task, keeper = timed_planning(patient, Problem(patient.name, patient.survey, recipe, (), ()))
        original = duplicate(patient.model).eval()
        place, batch = keeper.place(original), batch_of(task.inputs)
        if known is not None and (known.place, known.batch) == (place, batch):
            return known
        before, after = keeper.networks([original, operate(patient.model, plan, seed=recipe.seed).eval()], task.inputs)
        return Timing(place=place, batch=batch, original=before, converted=after, busy=busy() is not None)
