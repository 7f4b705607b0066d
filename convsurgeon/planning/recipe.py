"""Recipes: a conversion as a TOML file. This record is also where every default of a conversion lives."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from convsurgeon.base.errors import RecipeError, UnknownName, did_you_mean
from convsurgeon.base.reading import MOST, parse_toml, read_text, require_plain
from convsurgeon.base.records import Record, from_file
from convsurgeon.families import parse_method
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.planning.floors import parse_floors
from convsurgeon.planning.moves import CALIBRATED_MOVES, SWAPS_ALONE, MovesField, parse_moves
from convsurgeon.planning.rules import LayerRule, Rules
from convsurgeon.planning.targets import Metric, parse_targets
from convsurgeon.planning.words import FloorsField, MethodField, TargetsField, read_or_value_error

__all__ = ["Precision", "Recipe", "explain", "merged", "read_recipe"]


Precision = Literal["float32", "float16", "bfloat16", "int8"]


class Recipe(Record):
    """What to convert, how, and how far.

    Each field is an option of ``convert`` and ``plan``, with its description and default, and a keyword in Python.
    """

    model: str | None = Field(
        None, description="torchvision name, timm:NAME, package.module:factory or file.py:factory"
    )
    method: MethodField = Field("auto", validate_default=True, description="See 'convsurgeon methods'.")
    target: TargetsField = Field(
        (),
        description="Keep at most this: macs=50%, macs=2.0G, flops=4G (2 × MACs), params=12M, latency=60%, "
        "latency=12ms.",
    )
    at_least: FloorsField = Field(
        (),
        description="Find the smallest network that keeps agreement=99% (with the original), top1=-0.5 (points), "
        "top1=75% or output-error=1% (at most) on images that nothing was fitted on.",
    )
    minimise: Metric = Field("macs", description="What shall be smallest above the floor of --at-least.")
    weights: str = Field(
        "auto",
        description="Pretrained if they can be had (auto), pretrained or fail (DEFAULT), random (none), or a state "
        "dict as .safetensors, .pth, .ckpt or .bin.",
    )
    weights_key: str | None = Field(
        None, description="Where in the file of weights, if it holds several: state_dict_ema, ema.state_dict."
    )
    input: tuple[int, ...] | None = Field(
        None, description="Input shape, e.g. 1,3,224,224.", examples=[[1, 3, 224, 224]]
    )
    moves: MovesField | None = Field(
        None,
        description="What may be done: swap convolutions, narrow what one convolution hands to the next, narrow "
        "residual streams, drop residual branches; e.g. swap,narrow,streams,drop.  [default: swap; "
        "swap,narrow,streams where 'auto' has calibration images]",
    )
    width_multiple: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Narrowed streams keep multiples of so many channels.  [default: 8; 16 in onnxruntime]",
    )
    seed: int = Field(0, ge=0, le=MOST, description="Seed of fresh weights, example inputs and subsampling.")
    rules: Rules = Field(Rules(), description="Which convolutions may be replaced.")
    preprocessing: Preprocessing = Field(
        Preprocessing(), description="How images become inputs, where not as the weights say."
    )
    time_layers: bool = Field(
        False, description="Time every candidate on this machine; a latency target does so by itself."
    )
    allow_slower: bool = Field(
        False, description="Take swaps that were timed and do not pay in time, or leave them out (the default)."
    )
    runtime: str = Field("eager", description="Time in eager, onnxruntime or openvino.")
    precision: Precision | None = Field(
        None,
        description="Arithmetic to time in: float32, bfloat16 or int8, as the runtime has it.  [default: what the "
        "runtime takes by itself]",
    )
    latency_batch: int | None = Field(
        None, description="Batch size to time in; the input's own without it.", ge=1, le=MOST
    )

    fit_memory: float | None = Field(
        None,
        description="GiB of memory that fitting a layer may take, half of what there is without it; layers that need "
        "more stay.",
        gt=0,
        le=MOST,
    )

    def with_moves(self, *, calibrated: bool) -> Recipe:
        """With the moves that may be done where none are named; ``calibrated`` says whether damage can be measured."""
        if self.moves is not None:
            return self
        every = calibrated and self.method.name == "auto"
        return self.model_copy(update={"moves": CALIBRATED_MOVES if every else SWAPS_ALONE})

    @property
    def narrows(self) -> bool:
        """Whether channels may be taken away."""
        return bool({"narrow", "streams"} & set(self.moves or ()))

    @property
    def has_other_moves(self) -> bool:
        """Whether anything but swaps may be done."""
        return (self.moves or SWAPS_ALONE) != SWAPS_ALONE

    @field_validator("runtime")
    @classmethod
    def _known_runtime(cls, value: str) -> str:
        return read_or_value_error(_runtime_name, value)


def _runtime_name(text: str) -> str:
    # The runtimes bring torch, which the command line's help does not wait for.
    from convsurgeon.runtimes.registry import find_layer_runtime

    return find_layer_runtime(text).name


def _shape(text: str) -> tuple[int, ...]:
    from convsurgeon.models.input_sizes import parse_shape

    return parse_shape(text)


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        UnknownName: no such file.
        RecipeError: every mistake in it, with near names.
    """
    path = Path(path)
    if not path.is_file():
        raise UnknownName(f"no recipe at '{path}'.")
    content = parse_toml(read_text(path), str(path))
    require_plain(content, str(path))
    try:
        return from_file(Recipe, content)
    except ValidationError as error:
        raise RecipeError(explain(error, str(path), _known_keys)) from error


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    if location[:1] == ("preprocessing",) and len(location) > 1:
        return list(Preprocessing.model_fields)
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
            message = f"{message}, found {reprlib.repr(mistake['input'])}"
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
    # Words are read here, so that a misspelt one raises its own class of error.
    read = {"method": parse_method, "runtime": _runtime_name, "input": _shape}
    changes: dict[str, Any] = {
        key: read[key](value) if key in read and isinstance(value, str) else value
        for key, value in given.items()
        if value is not None
    }
    several: dict[str, Callable[[Any], Any]] = {"moves": parse_moves, "target": parse_targets, "at_least": parse_floors}
    changes |= {key: parse(changes[key]) for key, parse in several.items() if key in changes}
    try:
        return Recipe.model_validate({**dict(base), **changes})
    except ValidationError as error:
        raise RecipeError(explain(error, "the request", _known_keys)) from error
