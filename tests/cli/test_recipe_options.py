"""Declared once: each field of a recipe is an option with its words and default, and a keyword in Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from torch import nn

import convsurgeon
from convsurgeon import Recipe, Rules
from convsurgeon.cli.convert import convert_command, plan_command
from convsurgeon.cli.recipe_options import given_recipe
from convsurgeon.conversion import verbs
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.planning.targets import parse_targets

# What Python takes as objects: the model, its inputs, and whether its weights are worth carrying over.
OBJECTS = {
    "model": "model",
    "input": "example_inputs",
    "weights": "random_weights",
    "weights_key": "model",
    "preprocessing": "calibration",
}
# What the command line has as an argument, as the options of its own fields, and in files alone.
NO_OPTION = {"model", "rules", "layers", "preprocessing"}
FIELDS = {**Recipe.model_fields, **Rules.model_fields, **Preprocessing.model_fields}


def _options(command: click.Command) -> dict[str, click.Option]:
    return {str(option.name): option for option in command.params if isinstance(option, click.Option)}


@pytest.mark.parametrize("command", [convert_command, plan_command], ids=lambda command: command.name)
def test_each_field_is_an_option(command: click.Command) -> None:
    """convert and plan have an option for every field, with its description as help and its default in words."""
    options = _options(command)
    defaults = {**Preprocessing().model_dump(), **Rules().model_dump(mode="json"), **Recipe().model_dump(mode="json")}
    for name in FIELDS.keys() - NO_OPTION:
        words = options[name].help or ""
        assert words.startswith(FIELDS[name].description or "nothing described"), name
        if isinstance(defaults[name], (str, int)) and not isinstance(defaults[name], bool):
            assert words.endswith(f"[default: {defaults[name]}]"), name


@pytest.mark.parametrize("verb", [convsurgeon.convert, convsurgeon.plan], ids=lambda verb: verb.__name__)
def test_each_field_is_a_keyword(verb: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's verbs take every field as a keyword that is None unless given, and hand each to the recipe."""
    keywords = inspect.signature(verb).parameters
    names = Recipe.model_fields.keys() - OBJECTS.keys()
    assert {name for name in names if keywords[name].default is not None} == set()
    handed: dict[str, object] = {}

    def recorded(recipe: object, **given: object) -> None:
        handed.update(given)
        raise InterruptedError

    monkeypatch.setattr(verbs, "merged", recorded)
    values = {name: object() for name in names}
    with pytest.raises(InterruptedError):
        verb(nn.Identity(), None, **values)
    assert handed == values


def test_options_that_were_given_win_over_the_file(tmp_path: Path) -> None:
    """What was typed stands in the recipe, switches turned off too; what was not typed leaves the file's value."""
    file = tmp_path / "recipe.toml"
    file.write_text('seed = 3\nallow_slower = true\n[rules]\nonly = ["b"]\nskip = ["c"]\n')
    options = {name: option for name, option in _options(convert_command).items() if name in FIELDS}
    untyped = {name: () if option.multiple else None for name, option in options.items()}
    typed = {"model": "resnet18", "target": ("macs=50%",), "skip": ("a",), "stem": True, "allow_slower": False}
    assert given_recipe(file, {**untyped, **typed, "input": "1,3,64,64"}) == Recipe(
        model="resnet18",
        target=parse_targets("macs=50%"),
        rules=Rules(only=("b",), skip=("a",), stem=True),
        input=(1, 3, 64, 64),
        seed=3,
    )
