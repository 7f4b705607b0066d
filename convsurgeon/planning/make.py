"""Makes a plan: of all choices for all convolutions, the ones that hurt least within the targets."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.base.errors import NothingToConvert, TargetError
from convsurgeon.planning.latencies import Latencies, only_paying
from convsurgeon.planning.menus import Menus, Pick
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
from convsurgeon.planning.reach import nothing_eligible, unreachable
from convsurgeon.planning.solver import Infeasible, Option, Solution, solve
from convsurgeon.planning.stream_rows import block_rows, stream_rows
from convsurgeon.planning.targets import Target
from convsurgeon.planning.totals import Whole, as_options, costs_now, limits_for
from convsurgeon.planning.widths import Labels
from convsurgeon.survey.linears import LinearLayer

__all__ = ["make_plan"]


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
        raise NothingToConvert(nothing_eligible(problem, choices))
    whole = Whole(survey.total, latencies)
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
class _Picked:
    """What every convolution becomes, at which widths and without which branches, the linear layers that this changes,
    and how it was found."""

    convs: tuple[Pick, ...]
    solver: str
    labels: Labels = ()
    linears: tuple[LinearLayer, ...] = ()


def _pick(menus: Menus, targets: tuple[Target, ...], whole: Whole) -> _Picked:
    if not targets:
        return _Picked(tuple(menu[1] if len(menu) > 1 else menu[0] for menu in menus.at(())), "every eligible layer")
    everything = menus.all(whole.price(targets))
    parts = as_options(everything, targets, whole)
    limits = limits_for(costs_now(parts, targets), targets, whole)
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
    nearer = _solved(as_options(swaps, targets, whole), rest, targets, whole, menus)
    chosen = tuple(menu[i] for menu, i in zip(swaps, nearer.picks, strict=True))
    return _Picked(chosen, _words(found), labels, menus.linears)


def _words(found: Solution) -> str:
    return f"scipy milp (HiGHS), relative gap {found.gap:.1e}"


def _solved(
    parts: list[list[Option]], limits: list[int], targets: tuple[Target, ...], whole: Whole, menus: Menus
) -> Solution:
    answer = solve(parts, limits)
    if isinstance(answer, Infeasible):
        spared = [have - low for have, low in zip(costs_now(parts, targets), answer.lowest, strict=True)]
        raise TargetError(unreachable(spared, targets, whole, menus))
    return answer


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
