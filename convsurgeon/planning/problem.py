"""What a plan has to solve: what each convolution of a model may become, and the targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from convsurgeon.planning.fit_memory import within_memory
from convsurgeon.planning.moves import SWAPS_ALONE, Move
from convsurgeon.planning.options import PROXY, Choices, Damage, candidates, rated
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.recipe import Recipe
from convsurgeon.planning.targets import Target, parse_targets
from convsurgeon.planning.widths import Widths
from convsurgeon.survey.sites import Survey
from convsurgeon.survey.streams import Stream

__all__ = ["DEFAULT_SHARE", "Problem", "pose"]

# What is kept where nothing says how much; a search for a floor begins there.
DEFAULT_SHARE = 0.5
DEFAULT_TARGET = f"macs={DEFAULT_SHARE:.0%}"


@dataclass(frozen=True)
class Problem:
    """A recipe applied to a model.

    Attributes:
        model: what the plan calls the model.
        survey: what was found in it.
        recipe: what was asked for.
        targets: the recipe's, or the default one for methods with a choice, or none: then there is nothing to solve.
        choices: what each site may become at its full width; methods are as they are under targets, if there are any
            or a floor will set some.
        damage: what each choice hurts.
        widths: what the streams of channels may keep, where they may be narrowed.
        closed: the streams that can't be, with their reasons.
        blocks: the residual branches where dropping is among the moves: as ``dropped`` those that may be, with one row
            for each stand-in.
        notes: what to say about the targets.
    """

    model: str
    survey: Survey
    recipe: Recipe
    targets: tuple[Target, ...]
    choices: tuple[Choices, ...]
    damage: Damage = PROXY
    widths: tuple[Widths, ...] = ()
    closed: tuple[Stream, ...] = ()
    blocks: tuple[PlanBlock, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The name of the method that was asked for."""
        return self.recipe.method.name

    @property
    def objective(self) -> str:
        """What damage is, in words."""
        return self.damage.name

    @property
    def moves(self) -> tuple[Move, ...]:
        """What may be done."""
        return self.recipe.moves or SWAPS_ALONE

    @property
    def solved(self) -> bool:
        """Whether there is anything to choose: for targets, or for those that a floor will set."""
        return bool(self.targets or self.recipe.at_least)

    @property
    def comparable(self) -> bool:
        """Whether damages of swaps, if there are any, are measured, so that those of other moves are comparable."""
        return self.damage.of is not PROXY.of or not any(choice.options for choice in self.choices)

    @property
    def judged_at_outputs(self) -> bool:
        """Whether other moves are to be judged by the network's outputs, as swaps are if there are any."""
        return self.damage.at_outputs or not any(choice.options for choice in self.choices)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that the plan has rows for."""
        return (*(stream for widths in self.widths for stream in widths.streams), *self.closed)

    @property
    def drops(self) -> tuple[PlanBlock, ...]:
        """The residual branches that may be dropped, once for each stand-in."""
        return tuple(row for row in self.blocks if row.action == "dropped")

    @property
    def reshapes(self) -> bool:
        """Whether there is more to choose than swaps."""
        return bool(self.drops) or any(len(one.kept) > 1 for one in self.widths)

    @property
    def timed(self) -> bool:
        """Whether layers have to be timed for it."""
        sought = bool(self.recipe.at_least) and self.recipe.minimise == "latency"
        return self.recipe.time_layers or sought or any(target.metric == "latency" for target in self.targets)

    def within(self, *more: Target) -> Problem:
        """The same choices under further targets."""
        return replace(self, targets=(*self.targets, *more))

    def fitted(self) -> Problem:
        """The same problem without choices that can't be fitted within the recipe's memory; for trained weights."""
        return replace(self, choices=within_memory(self.choices, self.recipe.fit_memory))

    def rated(self, damage: Damage) -> Problem:
        """The same choices with another damage."""
        return replace(self, choices=rated(self.choices, damage), damage=damage)

    def named(self, objective: str) -> Problem:
        """The same problem, of whose damage is said what it is."""
        return replace(self, damage=replace(self.damage, name=objective))

    def narrowing(self, widths: Iterable[Widths], closed: Iterable[Stream]) -> Problem:
        """The same problem with what its streams may keep, and those that can't be narrowed."""
        return replace(self, widths=tuple(widths), closed=tuple(closed))

    def dropping(self, blocks: Iterable[PlanBlock]) -> Problem:
        """The same problem with the rows of its residual branches."""
        return replace(self, blocks=tuple(blocks))

    def without_swaps(self) -> Problem:
        """The same problem with nothing that a convolution may become."""
        reason = "swapping is not among the moves"
        return replace(self, choices=tuple(Choices(choice.site, (), reason) for choice in self.choices))

    def swapping(self) -> Problem:
        """With swaps alone: all streams whole, and all residual branches kept."""
        widths = (replace(one, kept=one.kept[:1], damages=one.damages[:1]) for one in self.widths)
        return replace(self, widths=tuple(widths), blocks=tuple(row.as_dropped(False) for row in self.blocks))


def pose(survey: Survey, recipe: Recipe, *, model: str = "model") -> Problem:
    """Apply a recipe to what was found in a model.

    Fixed methods without a target convert every eligible layer; methods with a choice take ``macs=50%``; ``dgconv``
    without a target keeps its gates open.

    A recipe that names no moves has swaps alone; its ``with_moves`` gives it those of its method.

    Raises:
        UnknownName: a rule that matches nothing.
    """
    method, rules, targets = recipe.method, recipe.rules, recipe.target
    notes: tuple[str, ...] = ()
    named = (method, *(rule.method for rule in rules.layers))
    choosing = next((f"'{one.name}' has" for one in named if one.has_choice), None)
    if choosing is None and recipe.has_other_moves:
        choosing = "widths are" if recipe.narrows else "what is dropped is"
    if not targets and not recipe.at_least and choosing is not None:
        targets = parse_targets(DEFAULT_TARGET)
        notes = (f"no target given: {choosing} a choice, so {DEFAULT_TARGET} was taken",)
    if targets or recipe.at_least:
        method, rules = method.under_target(), rules.under_target()
    choices = candidates(survey.sites, method, rules)
    problem = Problem(model, survey, recipe, targets, choices, notes=notes)
    return problem if "swap" in problem.moves else problem.without_swaps()
