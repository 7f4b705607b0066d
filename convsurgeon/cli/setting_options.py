"""Options made from the fields of a settings record, which stays the only source of their types and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import ValidationError

from convsurgeon.base.errors import UsageError
from convsurgeon.base.records import Record

__all__ = ["setting_options", "settings_given"]

Command = Callable[..., Any]
R = TypeVar("R", bound=Record)


def setting_options(record: type[Record], words: Mapping[str, str]) -> Callable[[Command], Command]:
    """One option for each named field; ``words`` are their help texts, in the order that help shows them."""

    def add(command: Command) -> Command:
        for name in reversed(list(words)):
            field = record.model_fields[name]
            choices = [str(c) for c in get_args(field.annotation)] if get_origin(field.annotation) is Literal else None
            plain = next((t for t in (field.annotation, *get_args(field.annotation)) if t in (int, float)), str)
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=click.Choice(choices) if choices else plain,
                help=words[name] if field.default is None else f"{words[name]}  [default: {field.default}]",
            )(command)
        return command

    return add


def settings_given(record: type[R], words: Mapping[str, str], given: Mapping[str, Any]) -> R:
    """The record with the options that were given.

    Raises:
        UsageError: a value out of its bounds.
    """
    try:
        return record(**{name: given[name] for name in words if given[name] is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}.") from error
