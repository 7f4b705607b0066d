"""Calibration inputs that are too few for a target: refused before any damage is measured, with the number needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from convsurgeon.base.errors import TargetError
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.reach import within_reach
from convsurgeon.planning.targets import Target
from convsurgeon.transfer import Calibration, Supply

__all__ = ["refuse_too_few"]


def refuse_too_few(problem: Problem, data: Calibration, supply: Supply) -> None:
    """Refuse targets that are out of reach only because so few inputs can't tell the damage at some layers.

    ``supply`` holds the layers that are still to be measured; the others are known already. Nothing is refused where
    no layer's damage can be told: the plan then goes by the data-free proxy. Layers that no input reaches do not count.

    Raises:
        TargetError: how many inputs are given, how many the target and every layer need, and which needs most.
    """
    names = [choice.site.name for choice in problem.choices if choice.options]
    open_sites = [name for name in names if name in supply.sites]
    known = set(names) - set(open_sites)
    told = known | {name for name in open_sites if supply.enough(name)}
    short = {
        name: needed for name in open_sites if not supply.enough(name) and (needed := supply.needed(name)) is not None
    }
    if not told or not short or within_reach(_only(problem, told)):
        return
    enough = _fewest(problem, told, short)
    if enough is not None:
        raise TargetError(_message(problem.targets, data.count(), enough, short, supply, len(told) + len(short)))


def _fewest(problem: Problem, told: set[str], short: Mapping[str, int]) -> int | None:
    """Inputs with which the target comes within reach; None where no number of them helps."""
    for count in sorted(set(short.values())):
        more = {name for name, needed in short.items() if needed <= count}
        if within_reach(_only(problem, told | more)):
            return count
    return None


def _only(problem: Problem, names: set[str]) -> Problem:
    """The problem with the options of these sites alone."""
    choices = (c if c.site.name in names else replace(c, options=()) for c in problem.choices)
    return replace(problem, choices=tuple(choices))


def _message(
    targets: tuple[Target, ...], given: int, enough: int, short: Mapping[str, int], supply: Supply, layers: int
) -> str:
    hungriest = max(short, key=lambda name: short[name])
    traffic = supply.sites[hungriest]
    each = traffic.positions / supply.inputs
    most = short[hungriest]
    whole = "" if most == enough else f"{enough:,} would be enough for this target, "
    return (
        f"target {', '.join(target.text for target in targets)} can't be reached with so few calibration inputs: "
        f"{given:,} are given, from which damage can't be told at {len(short)} of {layers} layers. {whole}"
        f"{most:,} would be enough for every layer; '{hungriest}' needs most, since it writes {each:,.0f} positions "
        "an input. Pass more inputs (--images N on the command line) or larger ones, or raise the target."
    )
