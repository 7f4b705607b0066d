"""Makes a plan: of all choices for all convolutions, the ones that hurt least within the targets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from convsurgeon.base.errors import NothingToConvert, TargetError
from convsurgeon.families.cost import Cost
from convsurgeon.planning.latencies import Latencies, only_paying
from convsurgeon.planning.menus import Menu, Menus, Pick
from convsurgeon.planning.options import Choices
from convsurgeon.planning.plan import (
    Action,
    CostRecord,
    Plan,
    PlanLatency,
    PlanLayer,
    PlanLinear,
    plan_cost,
)
from convsurgeon.planning.plan_blocks import dropped_layers, goes_with
from convsurgeon.planning.plan_streams import Gone
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.solver import Infeasible, Option, Solution, solve
from convsurgeon.planning.stream_rows import block_rows, stream_rows
from convsurgeon.planning.targets import Metric, Target, human, human_ms
from convsurgeon.planning.widths import Labels
from convsurgeon.survey.linears import LinearLayer

__all__ = ["least_share", "make_plan", "within_reach"]


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
    if not any(c.options for c in choices) and not problem.widths and not problem.drops:
        raise NothingToConvert(_nothing(problem, choices))
    whole = _Whole(survey.total, latencies)
    picked = _pick(Menus(problem, choices), targets, whole)
    layers = tuple(_layer(c, pick, bool(targets), latencies) for c, pick in zip(choices, picked.convs, strict=True))
    streams = stream_rows(problem, picked.labels)
    blocks = block_rows(problem, picked.labels)
    gone, dropped = Gone(streams), dropped_layers(blocks)
    linears = tuple(PlanLinear.of(one, gone.of(one.name), dropped=one.name in dropped) for one in picked.linears)
    untargeted_note = problem.recipe.method.untargeted_note
    if untargeted_note is not None and not targets:
        notes.append(untargeted_note)
    return Plan(
        version=2 if streams or blocks else 1,
        model=problem.model,
        fingerprint=survey.fingerprint(),
        input_shapes=survey.input_shapes,
        counted_on=survey.counted_on,
        method=method,
        target=tuple(t.text for t in targets),
        objective=problem.objective,
        solver=picked.solver,
        notes=tuple(notes),
        before=CostRecord.of(survey.total),
        after=CostRecord.of(plan_cost(survey.total, layers, linears, streams, blocks)),
        latency=_latency(latencies, layers),
        layers=layers,
        linears=linears,
        streams=streams,
        blocks=blocks,
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

    def part(self, target: Target, pick: Pick) -> int:
        """One part's value; layers without options stay, and count as nothing where they were not timed."""
        if target.metric != "latency" or self.latencies is None:
            return target.of(pick.cost)
        if pick.site is None:
            return 0
        took = self.latencies.of(pick.site, pick.candidate.spec if pick.candidate else None) or 0
        return took if pick.branch is None else round(pick.share * took)


@dataclass(frozen=True)
class _Picked:
    """What every convolution becomes, at which widths and without which branches, the linear layers that this changes,
    and how it was found."""

    convs: tuple[Pick, ...]
    solver: str
    labels: Labels = ()
    linears: tuple[LinearLayer, ...] = ()


def _pick(menus: Menus, targets: tuple[Target, ...], whole: _Whole) -> _Picked:
    if not targets:
        return _Picked(tuple(menu[1] if len(menu) > 1 else menu[0] for menu in menus.at(())), "every eligible layer")
    everything = menus.all()
    parts = _options(everything, targets, whole)
    limits = _limits(_now(parts, targets), targets, whole)
    found = _solved(parts, limits, targets, whole, menus)
    picks = [menu[i] for menu, i in zip(everything, found.picks, strict=True)]
    convs = len(menus.choices)
    if convs == len(picks):
        return _Picked(tuple(picks), _words(found))
    labels = tuple(dict.fromkeys(label for pick in picks[convs:] for label in pick.labels))
    spent = [sum(whole.part(target, pick) for pick in picks[convs:]) for target in targets]
    # Widths and branches stand; with every swap on the menu the convolutions come nearer to the limits.
    swaps = menus.at(labels)
    rest = [limit - used for limit, used in zip(limits, spent, strict=True)]
    nearer = _solved(_options(swaps, targets, whole), rest, targets, whole, menus)
    chosen = tuple(menu[i] for menu, i in zip(swaps, nearer.picks, strict=True))
    return _Picked(chosen, _words(found), labels, menus.linears)


def _words(found: Solution) -> str:
    return f"scipy milp (HiGHS), relative gap {found.gap:.1e}"


def _solved(
    parts: list[list[Option]], limits: list[int], targets: tuple[Target, ...], whole: _Whole, menus: Menus
) -> Solution:
    answer = solve(parts, limits)
    if isinstance(answer, Infeasible):
        spared = [have - low for have, low in zip(_now(parts, targets), answer.lowest, strict=True)]
        raise TargetError(_unreachable(spared, targets, whole, menus))
    return answer


def within_reach(problem: Problem, choices: tuple[Choices, ...], targets: tuple[Target, ...]) -> bool:
    """Whether some picks keep every target that is counted; what is timed is not known from candidates alone."""
    counted = tuple(target for target in targets if target.metric != "latency")
    whole = _Whole(problem.survey.total, None)
    if not counted:
        return True
    parts = _options(Menus(problem, choices).all(), counted, whole)
    return not isinstance(solve(parts, _limits(_now(parts, counted), counted, whole)), Infeasible)


def least_share(problem: Problem, metric: Metric, latencies: Latencies | None = None) -> float:
    """The share of the original's metric that the cheapest candidates keep, whatever damage they do.

    The problem's own targets are not looked at; swaps that do not pay in time are left out as in ``make_plan``.
    """
    choices = problem.choices
    if latencies is not None:
        choices, _ = only_paying(choices, latencies, allow_slower=problem.recipe.allow_slower)
    all_of_it, whole = Target(f"{metric}=100%", metric, share=Fraction(1)), _Whole(problem.survey.total, latencies)
    parts = _options(Menus(problem, choices).all(), (all_of_it,), whole)
    # No parts cost less than nothing, so that the answer holds the least that they can.
    answer = solve(parts, (-1,))
    spared = _now(parts, (all_of_it,))[0] - answer.lowest[0] if isinstance(answer, Infeasible) else 0
    return whole.less(all_of_it, spared) / max(1, whole.of(all_of_it))


def _options(menus: list[Menu], targets: tuple[Target, ...], whole: _Whole) -> list[list[Option]]:
    """The same as the solver takes it."""
    return [
        [Option(tuple(whole.part(target, pick) for target in targets), pick.damage, pick.labels) for pick in menu]
        for menu in menus
    ]


def _now(parts: list[list[Option]], targets: tuple[Target, ...]) -> list[int]:
    """What all parts cost as they are, for each target."""
    return [sum(part[0].costs[i] for part in parts) for i in range(len(targets))]


def _limits(now: list[int], targets: tuple[Target, ...], whole: _Whole) -> list[int]:
    return [have - whole.spared(target) for target, have in zip(targets, now, strict=True)]


def _unreachable(spared: list[int], targets: tuple[Target, ...], whole: _Whole, menus: Menus) -> str:
    choices, method = menus.choices, menus.problem.method
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
    narrowed = sum(len(widths.streams) for widths in menus.problem.widths)
    drops = len({row.block.name for row in menus.problem.drops})
    streams = f" and {narrowed} narrowed stream{'' if narrowed == 1 else 's'}" if narrowed else ""
    streams += f" and {drops} dropped residual branch{'' if drops == 1 else 'es'}" if drops else ""
    other = "" if method == "auto" else "choose a method with more reach (auto), "
    slow = "" if whole.latencies is None else ", take swaps that do not pay in time (--allow-slower)"
    return (
        f"target {', '.join(t.text for t in targets)} can't be reached by {free} eligible of {len(choices)} "
        f"convolutions{streams}. Reachable: {'; '.join(ranges)}{together}. "
        f"Raise the target, {other}or free more layers (--shortcuts, --stem){slow}."
    )


def _bare(target: Target, value: int) -> str:
    """A value without its metric's name, which stands beside it already."""
    return human_ms(value) if target.metric == "latency" else human(value)


def _nothing(problem: Problem, choices: tuple[Choices, ...]) -> str:
    if not choices:
        return "nothing to convert: the model has no convolution."
    rows = [f"  {c.site.name}: {c.reason}" for c in choices]
    rows += [f"  stream {stream.name}: {stream.closed}" for stream in problem.closed]
    rows += [f"  residual branch {row.block.name}: {row.reason}" for row in problem.blocks]
    listed = "\n".join(rows)
    return f"nothing to convert: '{problem.method}' can replace none of the {len(choices)} convolutions:\n{listed}"


def _layer(choices: Choices, pick: Pick, solved: bool, latencies: Latencies | None) -> PlanLayer:
    site, now = choices.site, pick.site or choices.site
    spec = pick.candidate.spec if pick.candidate else None
    narrowed = now.shape != site.shape
    action: Action = "refused" if choices.refused else "kept"
    reason = choices.reason or "the target is met without it"
    if pick.branch is not None:
        action, reason = "dropped", goes_with(pick.branch)
    elif spec is not None:
        action, reason = "replaced", spec.describe()
    elif narrowed:
        action, reason = "narrowed", f"{now.shape.describe()}, since streams at its ends lose channels"
    return PlanLayer(
        name=site.name,
        aliases=site.aliases,
        kind=site.kind,
        shape=site.shape,
        narrowed=now.shape if narrowed else None,
        calls=site.calls,
        positions=site.positions,
        action=action,
        reason=reason,
        spec=spec,
        damage=pick.damage if pick.candidate and solved else None,
        before=CostRecord.of(site.cost),
        after=CostRecord.of(pick.cost),
        latency=latencies.layer(site, spec, now, share=pick.share if pick.branch else None) if latencies else None,
    )
