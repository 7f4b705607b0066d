"""The options of a conversion: one for each field of a recipe and of its rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.completion import complete_method
from convsurgeon.cli.data import taken_preprocessing
from convsurgeon.cli.options import together
from convsurgeon.cli.setting_options import Spelling, setting_options
from convsurgeon.planning.recipe import Recipe, merged
from convsurgeon.planning.rules import Rules

__all__ = ["given_recipe", "model_options", "plan_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_SPELLINGS: Mapping[str, Spelling] = {
    "method": {"metavar": "NAME", "shell_complete": complete_method},
    "target": {"metavar": "macs=50%"},
    "moves": {"metavar": "swap,narrow,streams,drop"},
    "at_least": {"metavar": "agreement=99%"},
    "only": {"metavar": "PATTERN"},
    "skip": {"metavar": "PATTERN"},
    "allow_slower": {"switch": "--allow-slower/--no-slower"},
    "runtime": {"metavar": "NAME"},
    "precision": {"metavar": "NAME"},
    "weights": {"metavar": "auto|DEFAULT|none|FILE"},
    "weights_key": {"metavar": "KEY"},
    "input": {"metavar": "N,C,H,W"},
}
_DEFAULTS = Recipe()
_MODEL = ("weights", "weights_key", "input", "seed")
# The model is an argument.
_PLAN = tuple(name for name in Recipe.model_fields if name not in ("model", "preprocessing", *_MODEL))
# Another method for some layers takes a table, which only a file has.
_RULES = tuple(name for name in Rules.model_fields if name != "layers")


def model_options(command: Command, defaults: Recipe = _DEFAULTS) -> Command:
    """Where the model comes from; ``defaults`` holds what the help names."""
    device = click.option("--device", default="cpu", show_default=True, help="Device to load and run the model on.")
    return setting_options(defaults, _MODEL, _SPELLINGS)(device(command))


def plan_options(command: Command, without: Collection[str] = ()) -> Command:
    """What to replace, by what, how far; ``without`` what a command asks for in words of its own."""
    names = tuple(name for name in _PLAN if name not in without)
    rules = names.index("rules")
    file = click.option(
        "--recipe", "recipe_file", type=click.Path(path_type=Path), help="A TOML recipe; options win over it."
    )
    return together(
        setting_options(_DEFAULTS, names[:rules], _SPELLINGS),
        setting_options(Rules(), _RULES, _SPELLINGS),
        file,
        setting_options(_DEFAULTS, names[rules + 1 :], _SPELLINGS),
    )(command)


def given_recipe(recipe_file: Path | None, given: Mapping[str, Any]) -> Recipe:
    """The recipe with the options that were given in place of its values.

    Raises:
        UnknownName, UsageError: see ``merged``, or neither names a model.
    """
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    base = merged(recipe_file)
    rules = base.rules.model_copy(update={name: changes.pop(name) for name in _RULES if name in changes})
    preprocessing = taken_preprocessing(changes, base.preprocessing)
    recipe = merged(base, rules=rules, preprocessing=preprocessing, **changes)
    if recipe.model is None:
        raise UsageError("no model given: name one (convsurgeon convert resnet50), or a recipe that does.")
    return recipe
