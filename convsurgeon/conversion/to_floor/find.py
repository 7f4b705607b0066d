"""The search: damage once, then plan, fit and judge until the smallest network above the floor is closed in on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.damage import posed
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.judge import Judge, Judgement
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.steps import Fitted, concluded, fitted
from convsurgeon.conversion.to_floor.bracket import MOST_PROBES, Bracket, wanted_damage
from convsurgeon.conversion.to_floor.budgets import SHARE_DIGITS, Budgets, reached
from convsurgeon.conversion.to_floor.verdicts import Court
from convsurgeon.planning.floor_search import FloorSearch, Probe
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import DEFAULT_SHARE
from convsurgeon.planning.recipe import Recipe

__all__ = ["Found", "found_above"]


@dataclass(frozen=True)
class Found:
    """The smallest network that keeps the floor, as it was fitted and judged; its plan tells of the search."""

    plan: Plan
    fitted: Fitted
    judgement: Judgement

    def conversion(self, patient: Patient, data: Data) -> Conversion:
        """Verified, with its report."""
        fidelity = self.judgement.fidelity(self.fitted.carried.images)
        doubts = self.judgement.doubts()
        return concluded(patient, self.plan, self.fitted, data, fidelity, doubts)


def found_above(
    patient: Patient, recipe: Recipe, data: Data, *, refine: int = 0, progress: Progress | None = None
) -> Found:
    """Find the smallest network that keeps the recipe's floors, beside its targets, in at most six probes.

    Raises:
        UsageError: random weights, no calibration inputs, or such as come in another order each time.
        TargetError: a floor that no network could be shown to keep on so few inputs, or that none was found to keep:
            with the best that was.
        NothingToConvert: nothing is eligible.
    """
    if patient.untrained:
        raise UsageError(f"a floor needs trained weights, and these are random ({patient.weights.detail}).")
    if data.calibration is None:
        raise UsageError("a floor is judged on fitted networks; pass --calibrate DIR (calibration= in Python).")
    tell = progress or silent
    judge = Judge(patient, data, tell)
    court = Court(recipe.at_least, judge.original, patient.model)
    (problem,) = posed(patient, [recipe], data, tell)
    budgets = Budgets(patient, problem, tell)
    # Nothing more is judged while fitting: the judge does, on the same inputs each time.
    search = _Search(patient, replace(data, judging=None), recipe, refine, judge, court, budgets, tell)
    return search.run()


@dataclass
class _Search:
    """One search, and the smallest network so far."""

    patient: Patient
    data: Data
    recipe: Recipe
    refine: int
    judge: Judge
    court: Court
    budgets: Budgets
    tell: Progress
    best: Found | None = None

    def run(self) -> Found:
        """Make all probes; the smallest network that kept the floor."""
        low, high = self.budgets.range()
        # Just below the lowest share, so that it may be tried itself.
        start = Bracket(low - 1e-9, high, proven=high == 1.0)
        tried: list[Probe] = []
        share = round(min(max(DEFAULT_SHARE, low), high), SHARE_DIGITS)
        for number in range(1, MOST_PROBES + 1):
            self.tell("probing", number - 1, MOST_PROBES, f"{self.recipe.minimise}={share:.1%}")
            plan = self.budgets.plan(share)
            if any(plan.damage == one.damage and reached(plan, self.recipe.minimise) == one.reached for one in tried):
                break
            tried.append(self._probe(plan, share))
            bracket = start.narrowed(tried)
            if bracket.closed or bracket.high <= low:
                break
            share = self._next(bracket, tried, last=number == MOST_PROBES - 1)
        self.tell("probing", MOST_PROBES, MOST_PROBES, "")
        floors = tuple(floor.text for floor in self.recipe.at_least)
        search = FloorSearch(at_least=floors, minimised=self.recipe.minimise, probes=tuple(tried))
        if self.best is None:
            raise TargetError(_unreachable(search, self.recipe))
        plan = self.budgets.measured(self.best.plan)
        return replace(self.best, plan=plan.model_copy(update={"floor": search}))

    def _next(self, bracket: Bracket, tried: list[Probe], *, last: bool) -> float:
        guess = self.budgets.share_of_damage(wanted_damage(tried), max(0.0, bracket.low), bracket.high)
        return round(bracket.inside(guess, last=last), SHARE_DIGITS)

    def _probe(self, plan: Plan, share: float) -> Probe:
        """Fit and judge one plan; the network stays if it is the smallest that keeps the floor."""
        done = fitted(self.patient, plan, self.data, seed=self.recipe.seed, refine=self.refine, progress=self.tell)
        judgement = self.judge.judged(done.network)
        probe = Probe(
            share=share,
            reached=reached(plan, self.recipe.minimise),
            macs=plan.after.macs,
            params=plan.after.params,
            damage=plan.damage,
            verdicts=self.court.verdicts(judgement, done.network),
        )
        smallest = self.best is None or probe.reached < reached(self.best.plan, self.recipe.minimise)
        if probe.kept and smallest:
            self.best = Found(plan, done, judgement)
        return probe


def _unreachable(search: FloorSearch, recipe: Recipe) -> str:
    best = min(search.probes, key=lambda probe: probe.strain)
    had = ", ".join(verdict.describe() for verdict in best.verdicts)
    targets = "".join(f" beside target {target.text}" for target in recipe.target)
    tried = f"any of the {len(search.probes)} networks" if len(search.probes) > 1 else "the only network"
    return (
        f"floor {', '.join(search.at_least)}{targets} was not kept by {tried} tried. The "
        f"best that can be had keeps {best.reached:.1%} of the {search.minimised}: {had}. Lower the floor, judge on "
        "more inputs, calibrate on more (--images), choose another method, or train (convsurgeon recover)."
    )
