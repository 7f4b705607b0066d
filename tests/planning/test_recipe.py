"""Recipes: one TOML file, every mistake at once, near names for each."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from convsurgeon import LayerRule, Recipe, Rules, read_recipe
from convsurgeon.base.errors import RecipeError, UnknownName, UsageError
from convsurgeon.families import parse_method
from convsurgeon.planning.recipe import merged
from convsurgeon.planning.targets import parse_targets

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_in_the_folder_is_valid(path: Path) -> None:
    """The shipped recipes are read, name a model and fit the published JSON Schema."""
    recipe = read_recipe(path)
    assert recipe.model
    jsonschema.validate(tomllib.loads(path.read_text()), Recipe.model_json_schema())


def test_the_recipes_that_users_are_promised_are_there() -> None:
    """ResNet-50's three, VGG-16, an IGC and a DGConv recipe, and a detection backbone."""
    stems = {path.stem for path in RECIPES}
    assert {f"resnet50-compconv128-{part}" for part in ("3x3", "blocks", "all")} <= stems
    methods = {read_recipe(path).method.name for path in RECIPES}
    models = {read_recipe(path).model for path in RECIPES}
    assert {"igc", "dgconv", "compconv128"} <= methods
    assert {"vgg16_bn", "fasterrcnn_resnet50_fpn"} <= models


def test_five_mistakes_come_in_one_message(tmp_path: Path) -> None:
    """Every mistake has its place, and near names where there are some."""
    path = tmp_path / "wrong.toml"
    path.write_text(
        'modle = "resnet50"\nmethod = "compcnv128"\ntarget = "macs=half"\nseed = "three"\n'
        "[rules]\nstems = true\n[[rules.layers]]\nmatch = 'conv*'\nmethod = 'igcc'\n"
    )
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} has 6 mistakes:"
    for start in (
        "  modle: unknown key. Did you mean model",
        "  method: unknown method 'compcnv128'; expected auto, compconv, compconv32|64|128|256|512, ",
        "  target: target 'macs=half' can't be read; ",
        "  seed: Input should be a valid integer",
        "  rules.stems: unknown key. Did you mean stem?",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert "Did you mean compconv128" in str(caught.value)
    assert "found 'three'" in str(caught.value)
    assert "unknown method 'igcc'" in str(caught.value)


def test_a_file_with_one_mistake_says_so_in_the_singular(tmp_path: Path) -> None:
    """One mistake is one mistake; the corrected file is read."""
    path = tmp_path / "recipe.toml"
    path.write_text('method = "igc"\n[rules]\nonlly = ["a"]\n')
    with pytest.raises(RecipeError, match=r"has 1 mistake:\n  rules\.onlly: unknown key\. Did you mean only\?"):
        read_recipe(path)
    path.write_text('method = "igc"\n[rules]\nonly = ["a"]\n')
    assert read_recipe(path).rules.only == ("a",)


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    """A file that is no TOML, or no text, is named with the reason; a missing one too."""
    path = tmp_path / "recipe.toml"
    path.write_text("method = igc")
    with pytest.raises(RecipeError, match=r"recipe\.toml is not TOML: Invalid value \(at line 1"):
        read_recipe(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is UTF-16 or no text at all"):
        read_recipe(path)
    with pytest.raises(UnknownName, match="no recipe at"):
        read_recipe(tmp_path / "none.toml")


def test_one_target_or_several(tmp_path: Path) -> None:
    """A target may be a string or a list of them."""
    path = tmp_path / "recipe.toml"
    path.write_text('target = "macs=50%"')
    assert read_recipe(path).target == parse_targets("macs=50%")
    path.write_text('target = ["macs=50%", "params=12M"]')
    assert read_recipe(path).target == parse_targets(["macs=50%", "params=12M"])


def test_arguments_win_over_the_recipe() -> None:
    """What is given replaces the recipe's value; what is not given leaves it."""
    base = Recipe(method="igc", target="macs=50%", seed=3)
    other = base.model_copy(update={"method": parse_method("compconv64")})
    assert merged(base, method="compconv64", target=None, seed=None) == other
    assert merged(base, target="params=1M").target == parse_targets("params=1M")
    assert merged(None) == Recipe()


def test_a_recipe_is_frozen_and_its_defaults_are_the_programs() -> None:
    """The record holds every default; nobody can change it in passing."""
    recipe = Recipe()
    assert (recipe.method.name, recipe.target, recipe.weights, recipe.seed) == ("auto", (), "auto", 0)
    assert recipe.rules == Rules(layers=())
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1  # type: ignore[misc]
    assert LayerRule(match="a", method="igc") in Rules(layers=[LayerRule(match="a", method="igc")]).layers


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rules": {"onyl": ["a"]}}, r"the request has 1 mistake:\n  rules\.onyl: unknown key\. Did you mean only\?"),
        ({"method": 3}, "method: Input should be a valid string, found 3"),
        ({"seed": "x"}, "seed: Input should be a valid integer"),
        ({"target": 0.5}, r"target '0\.5' can't be read"),
        ({"target": {"macs": "50%"}}, "target 'macs' can't be read"),
    ],
)
def test_values_of_the_wrong_kind_are_named(given: dict[str, object], words: str) -> None:
    """In Python too, a value that no recipe takes is one clear message; plain dicts are fine as rules."""
    with pytest.raises(UsageError, match=words):
        merged(None, **given)
    assert merged(None, rules={"only": ["a"]}).rules == Rules(only=["a"])


def test_a_recipe_holds_values_and_writes_text() -> None:
    """Methods and targets are read once on the way in; the JSON holds their words, and reading it gives the same."""
    rules = Rules(layers=(LayerRule(match="a", method="dgconv"),))
    recipe = Recipe(method="igc-l4m2", target=["macs=50%", "latency=12ms"], rules=rules)
    assert recipe.method == parse_method("igc-l4m2")
    assert [target.metric for target in recipe.target] == ["macs", "latency"]
    assert rules.layers[0].method == parse_method("dgconv")
    written = recipe.model_dump(mode="json")
    assert (written["method"], written["target"]) == ("igc-l4m2", ["macs=50%", "latency=12ms"])
    assert written["rules"]["layers"] == [{"match": "a", "method": "dgconv"}]
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    jsonschema.validate(written, Recipe.model_json_schema())


def test_rules_under_a_target_group_at_once() -> None:
    """Where a target has to be met, a layer rule's dgconv groups like the recipe's own; other rules stay equal."""
    rules = Rules(stem=True, layers=[LayerRule(match="a", method="dgconv"), LayerRule(match="b", method="igc")])
    (first, second), before = rules.under_target().layers, rules.layers
    assert first.method == before[0].method.under_target() != before[0].method
    assert second == before[1]
    assert rules.under_target().stem
