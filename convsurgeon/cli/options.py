"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from convsurgeon.cli.conversion_screen import layers_option

__all__ = ["default_folder", "json_option", "output_options", "together"]

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator; help lists them in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


output_options = together(
    click.option("-o", "--output", type=click.Path(path_type=Path), help="Output folder.  [default: MODEL-METHOD]"),
    click.option("--force", is_flag=True, help="Replace the output folder if it exists."),
    click.option("--dry-run", is_flag=True, help="Plan and report; change and write nothing."),
    json_option,
    layers_option,
)


def default_folder(model: str, method: str) -> Path:
    """``MODEL-METHOD`` with ``/`` and ``:`` replaced by ``-``."""
    return Path(f"{model}-{method}".replace("/", "-").replace(":", "-"))
