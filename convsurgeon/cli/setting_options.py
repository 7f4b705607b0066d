"""Options made from a record's fields, which stay the only source of their words, types, bounds and defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from convsurgeon.base.errors import UsageError
from convsurgeon.base.records import Record

__all__ = ["Spelling", "setting_options", "settings_given"]

Command = TypeVar("Command", bound=Callable[..., Any])
R = TypeVar("R", bound=Record)

# What click is told of an option beyond its field: a metavar, the words of a switch, what completes its values.
Spelling = Mapping[str, Any]


def setting_options(
    defaults: BaseModel, names: Iterable[str], spellings: Mapping[str, Spelling] | None = None
) -> Callable[[Command], Command]:
    """One option for each named field; ``defaults`` holds the values that help names.

    An option that is not given is None, or () where it may be repeated.
    """
    shown = defaults.model_dump(mode="json")

    def add(command: Command) -> Command:
        for name in reversed(list(names)):
            field = type(defaults).model_fields[name]
            words, settings = field.description or "", {**_kind(field), **(spellings or {}).get(name, {})}
            if shown[name] and isinstance(shown[name], list) and all(isinstance(word, str) for word in shown[name]):
                words += f"  [default: {','.join(shown[name])}]"
            elif isinstance(shown[name], (str, int, float)) and not isinstance(shown[name], bool):
                words += f"  [default: {shown[name]}]"
            if settings.get("multiple"):
                words += " Repeatable."
            dashed = name.replace("_", "-")
            switch = settings.pop("switch", f"--{dashed}/--no-{dashed}")
            option = switch if field.annotation is bool else f"--{dashed}"
            command = click.option(option, name, help=words, **settings)(command)
        return command

    return add


def _kind(field: FieldInfo) -> dict[str, Any]:
    """What click has to know of a field's type and bounds."""
    kinds = (field.annotation, *get_args(field.annotation))
    if get_origin(field.annotation) is Literal:
        return {"type": click.Choice([str(word) for word in kinds[1:]])}
    if field.annotation is bool:
        return {"default": None}
    if get_origin(field.annotation) is tuple:
        return {"multiple": True}
    number = next((kind for kind in kinds if kind in (int, float)), None)
    bound = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
    if number is int and isinstance(bound, int):
        return {"type": click.IntRange(min=bound)}
    return {"type": number or str}


def settings_given(record: type[R], names: Iterable[str], given: Mapping[str, Any]) -> R:
    """The record with the options that were given.

    Raises:
        UsageError: a value out of its bounds.
    """
    try:
        return record(**{name: given[name] for name in names if given[name] is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {_plain(first['msg'])}.") from error


def _plain(message: str) -> str:
    words = message.removeprefix("Value error, ")
    return words[0].lower() + words[1:]
