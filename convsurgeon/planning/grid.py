"""What to explore: every method at every target."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from convsurgeon.base.errors import UnknownName, UsageError, did_you_mean
from convsurgeon.base.records import Record
from convsurgeon.families import parse_method
from convsurgeon.families.family import Method
from convsurgeon.planning.targets import Target, parse_targets
from convsurgeon.planning.words import read_or_value_error

__all__ = ["Grid", "given_grid", "point_name", "refuse_unknown_point"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _words(given: Any) -> list[Any]:
    """Texts are lists with commas between; what was read before stays as it is."""
    parts = [given] if isinstance(given, (str, int, float, Method, Target)) else list(given)
    return [word for part in parts for word in (part.split(",") if isinstance(part, str) else [part])]


def _methods(given: Any) -> tuple[Method, ...]:
    found = [word if isinstance(word, Method) else parse_method(str(word).strip()) for word in _words(given)]
    return tuple({method.name: method for method in found}.values())


def _targets(given: Any) -> tuple[Target, ...]:
    """A number alone is a share of the MACs, in percent."""
    texts = [word if isinstance(word, Target) else str(word).strip() for word in _words(given)]
    found = parse_targets(
        f"macs={text}%" if isinstance(text, str) and _NUMBER.fullmatch(text) else text for text in texts
    )
    return tuple({target.text: target for target in found}.values())


class Grid(Record):
    """The networks of an exploration; each field is an option of ``explore`` and a keyword in Python."""

    methods: Annotated[
        tuple[Method, ...],
        PlainValidator(partial(read_or_value_error, _methods)),
        PlainSerializer(lambda methods: tuple(method.name for method in methods)),
        WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    ] = Field("auto", validate_default=True, description="With commas between; see 'methods'.", min_length=1)
    targets: Annotated[
        tuple[Target, ...],
        PlainValidator(partial(read_or_value_error, _targets)),
        PlainSerializer(lambda targets: tuple(target.text for target in targets)),
        WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    ] = Field(
        "75,60,50,35,25",
        validate_default=True,
        description="What to keep at most, in % of the MACs or in full (params=40%), with commas between.",
        min_length=1,
    )
    latency: bool = Field(False, description="Time each network beside the original, on this machine.")


def given_grid(methods: Any, targets: Any, latency: bool | None) -> Grid:
    """The grid with what was given in place of its defaults; None and () leave them.

    Raises:
        UsageError: a method or a target that is none.
    """
    given = {"methods": methods, "targets": targets, "latency": latency}
    try:
        return Grid(**{name: value for name, value in given.items() if value not in (None, (), [])})
    except ValidationError as error:
        raise UsageError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def point_name(method: Method, target: Target) -> str:
    """What a network of the grid is called: ``igc-50``, ``auto-params=40%``."""
    share = re.fullmatch(r"macs=([\d.]+)%", target.text.replace(" ", "").lower())
    return f"{method.name}-{share[1] if share else target.text}"


def refuse_unknown_point(grid: Grid, name: str) -> None:
    """Refuse a name that no network of the grid has, before anything is measured.

    Raises:
        UnknownName: the grid has no network of that name.
    """
    names = [point_name(method, target) for method in grid.methods for target in grid.targets]
    if name not in names:
        raise UnknownName(f"no network '{name}': there are {', '.join(names)}.{did_you_mean(name, names)}")
