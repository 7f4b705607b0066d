"""Makes a plan: of all choices for all convolutions, the ones that hurt least within the targets."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.base.errors import NothingToConvert, TargetError
from convsurgeon.families.cost import Cost
from convsurgeon.planning.latencies import Latencies, only_paying
from convsurgeon.planning.options import Candidate, Choices
from convsurgeon.planning.plan import Action, CostRecord, Plan, PlanLatency, PlanLayer
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.solver import Infeasible, Option, solve
from convsurgeon.planning.targets import Target, human, human_ms
from convsurgeon.survey.sites import Site, Survey

__all__ = ["make_plan", "within_reach"]


def make_plan(problem: Problem, latencies: Latencies | None = None) -> Plan:
    """Choose what each convolution becomes.

    With measured ``latencies``, swaps that do not pay in time are left out unless the recipe allows them, and targets
    may be latencies.

    Raises:
        TargetError: a target that can't be reached; the message holds the reachable range.
        NothingToConvert: no convolution is eligible; the message holds the reasons.
    """
    survey, targets, method = problem.survey, problem.targets, problem.method
    choices, notes = problem.choices, list(problem.notes)
    if latencies is not None:
        choices, vetoed = only_paying(choices, latencies, allow_slower=problem.recipe.allow_slower)
        if vetoed:
            notes.append(
                f"{vetoed} swaps were left out, since they do not pay in time ({latencies.place.describe()}, "
                f"batch {latencies.batch}); --allow-slower takes them"
            )
    if not any(c.options for c in choices):
        raise NothingToConvert(_nothing(choices, method))
    whole = _Whole(survey.total, latencies)
    picks, solver = _pick(choices, targets, whole, method)
    layers = tuple(_layer(c, pick, bool(targets), latencies) for c, pick in zip(choices, picks, strict=True))
    after = survey.total + Cost.total(row.after.cost() - row.before.cost() for row in layers)
    untargeted_note = problem.recipe.method.untargeted_note
    if untargeted_note is not None and not targets:
        notes.append(untargeted_note)
    return Plan(
        model=problem.model,
        fingerprint=survey.fingerprint(),
        input_shapes=survey.input_shapes,
        counted_on=survey.counted_on,
        method=method,
        target=tuple(t.text for t in targets),
        objective=problem.objective,
        solver=solver,
        notes=tuple(notes),
        before=CostRecord.of(survey.total),
        after=CostRecord.of(after),
        latency=_latency(latencies, layers),
        layers=layers,
    )


def _latency(latencies: Latencies | None, layers: tuple[PlanLayer, ...]) -> PlanLatency | None:
    """What the whole network is predicted to take; None where only layers, or nothing, was timed."""
    saved = sum(row.latency.before_ns - row.latency.after_ns for row in layers if row.latency is not None)
    predicted = None if latencies is None else latencies.predicted(saved)
    if latencies is None or latencies.total_ns is None or predicted is None:
        return None
    return PlanLatency(
        place=latencies.place,
        batch=latencies.batch,
        before_ns=latencies.total_ns,
        predicted_ns=predicted,
        realised=latencies.realised,
    )


@dataclass(frozen=True)
class _Whole:
    """The whole model, and what its layers add to it, in every metric."""

    cost: Cost
    latencies: Latencies | None

    @property
    def latency_ns(self) -> int | None:
        return None if self.latencies is None else self.latencies.total_ns

    def of(self, target: Target) -> int:
        return target.of(self.cost, self.latency_ns)

    def spared(self, target: Target) -> int:
        """What the layers must cost less in sum, for the model to keep within the target."""
        limit = target.limit(self.cost, self.latency_ns)
        if target.metric == "latency" and self.latencies is not None:
            return self.latencies.needed(limit)
        return self.of(target) - limit

    def less(self, target: Target, spared: int) -> int:
        """The model's value once its layers cost ``spared`` less."""
        if target.metric == "latency" and self.latencies is not None:
            return self.latencies.predicted(spared) or 0
        return self.of(target) - spared

    def layer(self, target: Target, site: Site, candidate: Candidate | None) -> int:
        """One layer's value; layers without options stay, and count as nothing where they were not timed."""
        if target.metric == "latency" and self.latencies is not None:
            return self.latencies.of(site, candidate.spec if candidate else None) or 0
        return target.of(candidate.cost if candidate else site.cost)


def _pick(
    choices: tuple[Choices, ...], targets: tuple[Target, ...], whole: _Whole, method: str
) -> tuple[tuple[Candidate | None, ...], str]:
    """The candidate for each site (None: keep), and how it was found."""
    if not targets:
        return tuple(c.options[0] if c.options else None for c in choices), "every eligible layer"
    menus, layers = _menus(choices, targets, whole)
    now = _now(layers, targets)
    answer = solve(layers, _limits(now, targets, whole))
    if isinstance(answer, Infeasible):
        spared = [have - low for have, low in zip(now, answer.lowest, strict=True)]
        raise TargetError(_unreachable(spared, targets, whole, choices, method))
    picks = tuple(menu[i] for menu, i in zip(menus, answer.picks, strict=True))
    return picks, f"scipy milp (HiGHS), relative gap {answer.gap:.1e}"


def within_reach(survey: Survey, choices: tuple[Choices, ...], targets: tuple[Target, ...]) -> bool:
    """Whether some picks keep every target that is counted; what is timed is not known from candidates alone."""
    counted, whole = tuple(target for target in targets if target.metric != "latency"), _Whole(survey.total, None)
    if not counted:
        return True
    _, layers = _menus(choices, counted, whole)
    return not isinstance(solve(layers, _limits(_now(layers, counted), counted, whole)), Infeasible)


def _menus(
    choices: tuple[Choices, ...], targets: tuple[Target, ...], whole: _Whole
) -> tuple[list[tuple[Candidate | None, ...]], list[list[Option]]]:
    """What each site may become (None first: keep), and the same as the solver takes it."""
    menus = [(None, *c.options) for c in choices]
    layers = [
        [_option(c.site, candidate, targets, whole) for candidate in menu]
        for c, menu in zip(choices, menus, strict=True)
    ]
    return menus, layers


def _now(layers: list[list[Option]], targets: tuple[Target, ...]) -> list[int]:
    """What all layers cost as they are, for each target."""
    return [sum(layer[0].costs[i] for layer in layers) for i in range(len(targets))]


def _limits(now: list[int], targets: tuple[Target, ...], whole: _Whole) -> list[int]:
    return [have - whole.spared(target) for target, have in zip(targets, now, strict=True)]


def _option(site: Site, candidate: Candidate | None, targets: tuple[Target, ...], whole: _Whole) -> Option:
    costs = tuple(whole.layer(target, site, candidate) for target in targets)
    return Option(costs, 0.0 if candidate is None else candidate.damage)


def _unreachable(
    spared: list[int], targets: tuple[Target, ...], whole: _Whole, choices: tuple[Choices, ...], method: str
) -> str:
    ranges = []
    for target, most in zip(targets, spared, strict=True):
        full, lowest = whole.of(target), whole.less(target, most)
        asked = target.limit(whole.cost, whole.latency_ns)
        ranges.append(
            f"{target.metric} from {_bare(target, lowest)} ({lowest / full:.1%}) to {_bare(target, full)} (100 %), "
            f"asked: {_bare(target, asked)}"
        )
    together = "" if len(targets) == 1 else " (each alone; together they may reach less)"
    free = sum(bool(c.options) for c in choices)
    other = "" if method == "auto" else "choose a method with more reach (auto), "
    slow = "" if whole.latencies is None else ", take swaps that do not pay in time (--allow-slower)"
    return (
        f"target {', '.join(t.text for t in targets)} can't be reached by {free} eligible of {len(choices)} "
        f"convolutions. Reachable: {'; '.join(ranges)}{together}. "
        f"Raise the target, {other}or free more layers (--shortcuts, --stem){slow}."
    )


def _bare(target: Target, value: int) -> str:
    """A value without its metric's name, which stands beside it already."""
    return human_ms(value) if target.metric == "latency" else human(value)


def _nothing(choices: tuple[Choices, ...], method: str) -> str:
    if not choices:
        return "nothing to convert: the model has no convolution."
    rows = "\n".join(f"  {c.site.name}: {c.reason}" for c in choices)
    return f"nothing to convert: '{method}' can replace none of the {len(choices)} convolutions:\n{rows}"


def _layer(choices: Choices, pick: Candidate | None, solved: bool, latencies: Latencies | None) -> PlanLayer:
    site = choices.site
    before = CostRecord.of(site.cost)
    action: Action = "replaced" if pick else ("refused" if choices.refused else "kept")
    reason = pick.spec.describe() if pick else (choices.reason or "the target is met without it")
    return PlanLayer(
        name=site.name,
        aliases=site.aliases,
        kind=site.kind,
        shape=site.shape,
        calls=site.calls,
        positions=site.positions,
        action=action,
        reason=reason,
        spec=pick.spec if pick else None,
        damage=pick.damage if pick and solved else None,
        before=before,
        after=CostRecord.of(pick.cost) if pick else before,
        latency=latencies.layer(site, pick.spec if pick else None) if latencies else None,
    )
