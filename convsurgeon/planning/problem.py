"""What a plan has to solve: what each convolution of a model may become, and the targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from convsurgeon.planning.fit_memory import within_memory
from convsurgeon.planning.options import PROXY, Choices, Damage, candidates, rated
from convsurgeon.planning.recipe import Recipe
from convsurgeon.planning.targets import Target, parse_targets
from convsurgeon.survey.sites import Survey

__all__ = ["Problem", "pose"]

DEFAULT_TARGET = "macs=50%"


@dataclass(frozen=True)
class Problem:
    """A recipe applied to a model.

    Attributes:
        model: what the plan calls the model.
        survey: what was found in it.
        recipe: what was asked for.
        targets: the recipe's, or the default one for methods with a choice, or none: then there is nothing to solve.
        choices: what each site may become, made once; methods are as they are under the targets.
        objective: what their damage is, in words.
        notes: what to say about the targets.
    """

    model: str
    survey: Survey
    recipe: Recipe
    targets: tuple[Target, ...]
    choices: tuple[Choices, ...]
    objective: str = PROXY.name
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The name of the method that was asked for."""
        return self.recipe.method.name

    @property
    def timed(self) -> bool:
        """Whether layers have to be timed for it."""
        return self.recipe.time_layers or any(target.metric == "latency" for target in self.targets)

    def fitted(self) -> Problem:
        """Without what can't be fitted within the recipe's memory: for weights that are worth carrying over."""
        return replace(self, choices=within_memory(self.choices, self.recipe.fit_memory))

    def rated(self, damage: Damage) -> Problem:
        """The same choices with another damage."""
        return replace(self, choices=rated(self.choices, damage), objective=damage.name)


def pose(survey: Survey, recipe: Recipe, *, model: str = "model") -> Problem:
    """Apply a recipe to what was found in a model.

    Fixed methods without a target convert every eligible layer; methods with a choice take ``macs=50%``; ``dgconv``
    without a target keeps its gates open.

    Raises:
        UnknownName: a rule that matches nothing.
    """
    method, rules, targets = recipe.method, recipe.rules, recipe.target
    notes: tuple[str, ...] = ()
    named = (method, *(rule.method for rule in rules.layers))
    if not targets and (free := next((one for one in named if one.has_choice), None)) is not None:
        targets = parse_targets(DEFAULT_TARGET)
        notes = (f"no target given: '{free.name}' has a choice, so {DEFAULT_TARGET} was taken",)
    if targets:
        method, rules = method.under_target(), rules.under_target()
    return Problem(model, survey, recipe, targets, candidates(survey.sites, method, rules), notes=notes)
