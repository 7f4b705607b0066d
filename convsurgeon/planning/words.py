"""Methods and targets as fields of a record: read once on the way in, written as text on the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.families import parse_method
from convsurgeon.families.family import Method
from convsurgeon.planning.targets import Target, parse_targets

__all__ = ["MethodField", "TargetsField", "read_or_value_error"]

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


def _targets(value: Any) -> tuple[Target, ...]:
    return read_or_value_error(parse_targets, value)


def _texts(targets: Iterable[Target]) -> tuple[str, ...]:
    return tuple(target.text for target in targets)


def _name(method: Method) -> str:
    return method.name


MethodField = Annotated[Method, PlainValidator(_method), PlainSerializer(_name), WithJsonSchema({"type": "string"})]

_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
TargetsField = Annotated[
    tuple[Target, ...], PlainValidator(_targets), PlainSerializer(_texts), WithJsonSchema(_ONE_OR_MANY)
]
