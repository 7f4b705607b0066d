"""Everything that each part of a network may be, priced: convolutions, linear layers, widths, residual branches."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from convsurgeon.families.cost import Cost
from convsurgeon.planning.branches import Branches
from convsurgeon.planning.narrow_shapes import narrowed_conv_cost
from convsurgeon.planning.options import Candidate, Choices, options_of, rated
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.rules import method_for
from convsurgeon.planning.scaled_damage import at_any_width
from convsurgeon.planning.widths import Ends, Labels, Widths, narrowed_site
from convsurgeon.survey.linears import LinearLayer
from convsurgeon.survey.sites import Site

__all__ = ["Menu", "Menus", "Pick", "Price"]

# Swaps of one layer at one combination of widths: enough to choose the widths by. Once those stand, all count. Of a
# layer that is whole all count at once, so that a plan with other moves is never behind one of swaps alone.
_MOST_SWAPS = 6


@dataclass(frozen=True)
class Pick:
    """One thing that a part of a network may be.

    ``labels`` say at which widths. A convolution has its ``site`` at those widths, and a ``candidate`` where it is
    swapped. ``branch`` is the residual branch with which a layer is dropped; what stands in for all of that takes
    about ``share`` of the layer's time.
    """

    cost: Cost
    damage: float = 0.0
    labels: Labels = ()
    site: Site | None = None
    candidate: Candidate | None = None
    branch: str | None = None
    share: float = 0.0


Menu = tuple[Pick, ...]
Price = Callable[[Pick], tuple[int, ...]]


@dataclass
class Menus:
    """The menus of a problem; the first thing on each is the part as it is.

    ``choices`` are the problem's, perhaps fewer.
    """

    problem: Problem
    choices: tuple[Choices, ...]
    _narrowed: dict[tuple[str, tuple[int, int]], Choices] = field(default_factory=dict)
    _alike: dict[Hashable, Choices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ends = Ends(self.problem.widths)
        self._damage = at_any_width(self.problem.damage, self.choices)
        self._sites = {choice.site.name: choice.site for choice in self.choices}
        self._branches = Branches(self.problem.drops, self.problem.widths)

    @property
    def linears(self) -> tuple[LinearLayer, ...]:
        """The linear layers that have another shape at other widths, or that may be dropped."""
        return tuple(
            linear
            for linear in self.problem.survey.linears
            if self.ends.of(linear.name) or self._branches.of(linear.name)
        )

    def all(self, price: Price) -> list[Menu]:
        """Convolutions, linear layers, widths and branches, in this order; of swaps in narrowed layers only a few, the
        least damaging for their ``price``."""
        convs = [self._conv(choice, self.ends.labels(choice.site.name), price) for choice in self.choices]
        linears = [self._linear(linear, self.ends.labels(linear.name)) for linear in self.linears]
        names = (*(choice.site.name for choice in self.choices), *(linear.name for linear in self.linears))
        layers = [self._or_dropped(name, menu) for name, menu in zip(names, (*convs, *linears), strict=True)]
        return [*layers, *(_widths(one) for one in self.problem.widths), *map(self._branch, self._branches.all())]

    def at(self, labels: Labels) -> list[Menu]:
        """The convolutions' menus at these widths and without the branches that go, with every swap; a part that is as
        it is comes first."""
        chosen = dict(labels)
        return [self._conv_at(choice, chosen) for choice in self.choices]

    def _conv_at(self, choice: Choices, chosen: dict[str, int]) -> Menu:
        for row in self._branches.of(choice.site.name):
            if chosen.get(row.label) == row.choice[1]:
                return (self._dropped(row, choice.site),)
        return tuple(replace(pick, labels=()) for pick in self._conv(choice, [self._own(choice, chosen)], None))

    def _or_dropped(self, name: str, menu: Menu) -> Menu:
        """The menu, and what is left of the layer where its branch may be dropped."""
        rows = self._branches.of(name)
        if not rows:
            return menu
        stays = (replace(pick, labels=(*pick.labels, (rows[0].label, 0))) for pick in menu)
        everywhere = list(self._branches.outside(rows[0], dict.fromkeys(pick.labels for pick in menu)))
        site = self._sites.get(name)
        goes = (self._dropped(row, site, (*labels, row.choice)) for row in rows for labels in everywhere)
        return (*stays, *goes)

    def _dropped(self, row: PlanBlock, site: Site | None, labels: Labels = ()) -> Pick:
        """A layer that goes with its branch; the time of what stands in is estimated by its share of the MACs."""
        gone = sum(self._sites[name].cost.macs for name in row.block.modules if name in self._sites)
        return Pick(Cost(0, 0), 0.0, labels, site, branch=row.block.name, share=row.cost({}).macs / max(1, gone))

    def _branch(self, rows: tuple[PlanBlock, ...]) -> Menu:
        """A branch as it is, or what stands in for it less the parameters of norms that go, at each width of the
        stream that it is added to."""
        everywhere = list(self._branches.widths(rows[0]))
        stays = (Pick(Cost(0, 0), labels=(*labels, (rows[0].label, 0))) for labels, _ in everywhere)
        goes = (
            Pick(row.cost(gone), row.damage or 0.0, (*labels, row.choice))
            for row in rows
            for labels, gone in everywhere
        )
        return (*stays, *goes)

    def _own(self, choice: Choices, chosen: dict[str, int]) -> Labels:
        return tuple((name, chosen[name]) for name in self.ends.of(choice.site.name))

    def _conv(self, choice: Choices, everywhere: Iterable[Labels], price: Price | None) -> Menu:
        picks: list[Pick] = []
        for labels in everywhere:
            at = self._at(choice, self.ends.gone(choice.site.name, labels))
            swaps = [Pick(o.cost, o.damage, labels, at.site, o) for o in at.options]
            picks.append(Pick(at.site.cost, labels=labels, site=at.site))
            picks += swaps if price is None or at is choice else _few(swaps, price, _MOST_SWAPS)
        return tuple(picks)

    def _at(self, choice: Choices, gone: tuple[int, int]) -> Choices:
        """What a convolution may become once it has lost inputs and outputs."""
        if gone == (0, 0):
            return choice
        key = (choice.site.name, gone)
        if key not in self._narrowed:
            site = narrowed_site(choice.site, gone)
            self._narrowed[key] = self._choices(choice, site)
        return self._narrowed[key]

    def _choices(self, choice: Choices, site: Site) -> Choices:
        if not choice.options:
            return replace(choice, site=site)
        recipe = self.problem.recipe
        method, rules = recipe.method, recipe.rules
        if self.problem.targets:
            method, rules = method.under_target(), rules.under_target()
        # Networks repeat their blocks: sites that differ in their names only have the same options.
        one_size = site.input_size if site.one_size else None
        key = (method_for(site, rules), site.shape, site.cost, site.positions, site.output_size, one_size)
        if key not in self._alike:
            self._alike[key] = options_of(site, method, rules)
        return rated([replace(self._alike[key], site=site)], self._damage)[0]

    def _linear(self, linear: LinearLayer, everywhere: Iterable[Labels]) -> Menu:
        def cost(labels: Labels) -> Cost:
            gone = self.ends.gone(linear.name, labels)
            return narrowed_conv_cost(linear.cost, linear.shape, gone, linear.positions)

        return tuple(Pick(cost(labels), labels=labels) for labels in everywhere)


def _widths(widths: Widths) -> Menu:
    return tuple(
        Pick(widths.cost(number), damage, ((widths.name, number),)) for number, damage in enumerate(widths.damages)
    )


def _few(swaps: Sequence[Pick], price: Price, most: int) -> list[Pick]:
    """The least damaging for their price, evenly spread along it."""
    best: list[tuple[tuple[int, ...], Pick]] = []
    for swap in sorted(swaps, key=lambda swap: swap.damage):
        costs = price(swap)
        if not any(all(map(operator.le, other, costs)) for other, _ in best):
            best.append((costs, swap))
    best.sort(key=lambda priced: priced[0])
    steps = range(len(best)) if len(best) <= most else [round(i * (len(best) - 1) / (most - 1)) for i in range(most)]
    return [best[step][1] for step in steps]
