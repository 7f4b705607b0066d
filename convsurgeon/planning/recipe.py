"""Recipes: a conversion as a TOML file. This record is also where every default of a conversion lives."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator

from convsurgeon.base.errors import ConvsurgeonError, RecipeError, UnknownName, did_you_mean
from convsurgeon.families import parse_method
from convsurgeon.models.input_sizes import parse_shape
from convsurgeon.planning.rules import LayerRule, Rules
from convsurgeon.planning.targets import parse_targets
from convsurgeon.runtimes import find_layer_runtime

__all__ = ["Recipe", "explain", "merged", "read_recipe"]


_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class Recipe(BaseModel):
    """What to convert, how, and how far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        None, description="torchvision name, timm:NAME, package.module:factory or file.py:factory"
    )
    method: str = Field("auto", description="see 'convsurgeon methods'")
    target: Annotated[tuple[str, ...], WithJsonSchema(_ONE_OR_MANY)] = Field(
        (), description="what to keep at most, e.g. macs=50%, params=12M or latency=60%"
    )
    weights: str = Field("auto", description="auto, DEFAULT, none, or a file")
    input: tuple[int, ...] | None = Field(None, description="input shape, e.g. [1, 3, 224, 224]")
    seed: int = Field(0, description="seed of fresh weights, example inputs and subsampling")
    rules: Rules = Field(Rules(), description="which convolutions may be replaced")
    time_layers: bool = Field(False, description="time every candidate on this machine; a latency target does so too")
    allow_slower: bool = Field(False, description="also take swaps that were timed and do not pay in time")
    runtime: str = Field("eager", description="what layers are timed in: eager, onnxruntime or openvino")
    latency_batch: int | None = Field(None, description="batch size to time in; the input's own without it", ge=1)

    @field_validator("target", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("target")
    @classmethod
    def _readable_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _as_value_error(lambda: parse_targets(value))
        return value

    @field_validator("runtime")
    @classmethod
    def _known_runtime(cls, value: str) -> str:
        _as_value_error(lambda: find_layer_runtime(value))
        return value

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        _as_value_error(lambda: parse_method(value))
        return value


def _as_value_error(check: Any) -> None:
    """pydantic gathers ValueErrors, so that a file's mistakes come all at once."""
    try:
        check()
    except ConvsurgeonError as error:
        raise ValueError(str(error)) from error


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        UnknownName: no such file.
        RecipeError: every mistake in it, with near names.
    """
    path = Path(path)
    if not path.is_file():
        raise UnknownName(f"no recipe at '{path}'.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}.") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(explain(error, str(path), _known_keys)) from error


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    if location[:1] != ("rules",) or len(location) == 1:
        return list(Recipe.model_fields)
    return list(LayerRule.model_fields if len(location) > 2 else Rules.model_fields)


def explain(error: ValidationError, origin: str, known_keys: Any) -> str:
    """Every mistake on a line of its own: where, what was found, what was expected."""
    lines = []
    for mistake in error.errors():
        location = mistake["loc"]
        where = ".".join(map(str, location)) or "file"
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            message = f"unknown key.{did_you_mean(str(location[-1]), known_keys(location))}"
        elif mistake["type"] != "value_error":
            message = f"{message}, found {mistake['input']!r}"
        lines.append(f"  {where}: {message}")
    count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
    return f"{origin} has {count}:\n" + "\n".join(lines)


def merged(recipe: Recipe | Path | str | None, **given: Any) -> Recipe:
    """A recipe with the given values in place of its own; None leaves the recipe's.

    Raises:
        UnknownName, RecipeError: see ``read_recipe``.
        UsageError: a given value that no recipe takes.
    """
    base = read_recipe(recipe) if isinstance(recipe, (str, Path)) else recipe or Recipe()
    changes = {key: value for key, value in given.items() if value is not None}
    if isinstance(changes.get("target"), Iterable) and not isinstance(changes["target"], str):
        changes["target"] = tuple(changes["target"])
    if isinstance(changes.get("input"), str):
        changes["input"] = parse_shape(changes["input"])
    # Checked beforehand, so that a misspelt name raises its own class of error.
    if isinstance(method := changes.get("method", base.method), str):
        parse_method(method)
    parse_targets(changes.get("target", base.target))
    if isinstance(runtime := changes.get("runtime", base.runtime), str):
        find_layer_runtime(runtime)
    try:
        return Recipe.model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        raise RecipeError(explain(error, "the request", _known_keys)) from error
