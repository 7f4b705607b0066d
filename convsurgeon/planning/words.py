"""Methods, targets and floors as fields of a record: read once on the way in, written as text on the way out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.families import parse_method
from convsurgeon.families.family import Method
from convsurgeon.planning.floors import Floor, parse_floors
from convsurgeon.planning.targets import Target, parse_targets

__all__ = ["FloorsField", "MethodField", "TargetsField", "read_or_value_error"]

T = TypeVar("T")


def read_or_value_error(read: Callable[[Any], T], value: Any) -> T:
    """What ``read`` makes of a value; pydantic gathers ValueErrors, so that a file's mistakes come all at once."""
    try:
        return read(value)
    except ConvsurgeonError as error:
        raise ValueError(str(error)) from error


def _method(value: object) -> Method:
    if isinstance(value, Method):
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return read_or_value_error(parse_method, value)


MethodField = Annotated[
    Method,
    PlainValidator(_method),
    PlainSerializer(lambda method: method.name),
    WithJsonSchema({"type": "string"}),
]
_ONE_OR_MORE_TEXTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
TargetsField = Annotated[
    tuple[Target, ...],
    PlainValidator(partial(read_or_value_error, parse_targets)),
    PlainSerializer(lambda targets: tuple(target.text for target in targets)),
    _ONE_OR_MORE_TEXTS,
]
FloorsField = Annotated[
    tuple[Floor, ...],
    PlainValidator(partial(read_or_value_error, parse_floors)),
    PlainSerializer(lambda floors: tuple(floor.text for floor in floors)),
    _ONE_OR_MORE_TEXTS,
]
