"""What became of a network's convolutions, in a few groups: what they turned into, or why they stayed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import get_args

from convsurgeon.families import family_of
from convsurgeon.families.cost import Cost
from convsurgeon.planning.plan import Action, PlanLayer
from convsurgeon.planning.targets import human

__all__ = ["Group", "grouped", "macs_words"]

# More reasons for the same action than this are counted together.
_SHOWN = 4


@dataclass(frozen=True)
class Group:
    """Layers with the same action; ``what`` names the family that they became, or the reason why not."""

    action: Action
    what: str
    layers: tuple[PlanLayer, ...]

    @property
    def before(self) -> Cost:
        """What they cost in the original."""
        return Cost.total(layer.before.cost() for layer in self.layers)

    @property
    def after(self) -> Cost:
        """What they cost now."""
        return Cost.total(layer.after.cost() for layer in self.layers)


def grouped(layers: tuple[PlanLayer, ...]) -> tuple[Group, ...]:
    """The groups, action by action, the largest first; rare reasons are put together at each action's end."""
    found: defaultdict[tuple[Action, str], list[PlanLayer]] = defaultdict(list)
    for layer in layers:
        found[layer.action, _what(layer)].append(layer)
    groups: list[Group] = []
    for action in get_args(Action):
        mine = [Group(action, what, tuple(rows)) for (of, what), rows in found.items() if of == action]
        mine.sort(key=lambda group: (-len(group.layers), group.what))
        shown = len(mine) if len(mine) <= _SHOWN + 1 else _SHOWN
        groups.extend(mine[:shown])
        if rest := mine[shown:]:
            together = tuple(layer for group in rest for layer in group.layers)
            groups.append(Group(action, f"{len(rest)} other reasons", together))
    return tuple(groups)


def macs_words(group: Group) -> str:
    """MACs before and after, e.g. ``1.180 M → 608.256 k``; once where they are the same."""
    before, after = human(group.before.macs), human(group.after.macs)
    return before if group.before == group.after else f"{before} → {after}"


def _what(layer: PlanLayer) -> str:
    if layer.action == "narrowed":
        return "fewer channels in streams at their ends"
    if layer.action == "dropped":
        return "their residual branch is left out"
    return layer.reason if layer.spec is None else family_of(layer.spec).card.title
