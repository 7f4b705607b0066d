"""How far a problem's candidates reach, and what is said of a target beyond that."""

from __future__ import annotations

from fractions import Fraction

from convsurgeon.planning.latencies import Latencies, only_paying
from convsurgeon.planning.menus import Menus
from convsurgeon.planning.options import PROXY, Choices
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.solver import Infeasible, solve
from convsurgeon.planning.targets import Metric, Target, human, human_ms
from convsurgeon.planning.totals import Whole, as_options, costs_now, limits_for

__all__ = ["least_share", "nothing_eligible", "unreachable", "within_reach"]


def within_reach(problem: Problem) -> bool:
    """Whether some picks keep every target that is counted; what is timed is not known from candidates alone."""
    counted = tuple(target for target in problem.targets if target.metric != "latency")
    whole = Whole(problem.survey.total, None)
    if not counted:
        return True
    parts = as_options(Menus(problem, problem.choices).all(whole.price(counted)), counted, whole)
    return not isinstance(solve(parts, limits_for(costs_now(parts, counted), counted, whole)), Infeasible)


def least_share(problem: Problem, metric: Metric, latencies: Latencies | None = None) -> float:
    """The share of the original's metric that the cheapest candidates keep, whatever damage they do.

    The problem's own targets are not looked at; swaps that do not pay in time are left out as in ``make_plan``.
    """
    choices = problem.choices
    if latencies is not None:
        choices, _ = only_paying(choices, latencies, allow_slower=problem.recipe.allow_slower)
    all_of_it, whole = Target(f"{metric}=100%", metric, share=Fraction(1)), Whole(problem.survey.total, latencies)
    menus = Menus(problem, choices).all(whole.price((all_of_it,)))
    parts = as_options(menus, (all_of_it,), whole)
    # No parts cost less than nothing, so that the answer holds the least that they can.
    answer = solve(parts, (-1,))
    spared = costs_now(parts, (all_of_it,))[0] - answer.lowest[0] if isinstance(answer, Infeasible) else 0
    return whole.less(all_of_it, spared) / max(1, whole.of(all_of_it))


def unreachable(spared: list[int], targets: tuple[Target, ...], whole: Whole, menus: Menus) -> str:
    """What to say of targets that can't be met, with the range that can; ``spared`` is the most for each alone."""
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
    # What is measured of streams only takes some of their widths away.
    best = " at best" if narrowed and menus.problem.damage is PROXY else ""
    other = "" if method == "auto" else "choose a method with more reach (auto), "
    slow = "" if whole.latencies is None else ", take swaps that do not pay in time (--allow-slower)"
    return (
        f"target {', '.join(t.text for t in targets)} can't be reached by {free} eligible of {len(choices)} "
        f"convolutions{streams}. Reachable{best}: {'; '.join(ranges)}{together}. "
        f"Raise the target, {other}or free more layers (--shortcuts, --stem){slow}."
    )


def _bare(target: Target, value: int) -> str:
    """A value without its metric's name, which stands beside it already."""
    return human_ms(value) if target.metric == "latency" else human(value)


def nothing_eligible(problem: Problem, choices: tuple[Choices, ...]) -> str:
    """What to say where no part of a model may change, with the reasons."""
    if not choices:
        return "nothing to convert: the model has no convolution."
    rows = [f"  {c.site.name}: {c.reason}" for c in choices]
    rows += [f"  stream {stream.name}: {stream.closed}" for stream in problem.closed]
    rows += [f"  residual branch {row.block.name}: {row.reason}" for row in problem.blocks]
    listed = "\n".join(rows)
    return f"nothing to convert: '{problem.method}' can replace none of the {len(choices)} convolutions:\n{listed}"
