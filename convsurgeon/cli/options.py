"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from convsurgeon.cli.conversion_screen import layers_option

__all__ = ["default_folder", "json_option", "output_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")


def output_options(command: Command) -> Command:
    """Where the result goes."""
    for option in (
        layers_option,
        json_option,
        click.option("--dry-run", is_flag=True, help="Plan and report; change and write nothing."),
        click.option("--force", is_flag=True, help="Replace the output folder if it exists."),
        click.option("-o", "--output", type=click.Path(path_type=Path), help="Output folder.  [default: MODEL-METHOD]"),
    ):
        command = option(command)
    return command


def default_folder(model: str, method: str) -> Path:
    """``MODEL-METHOD`` with ``/`` and ``:`` replaced by ``-``."""
    return Path(f"{model}-{method}".replace("/", "-").replace(":", "-"))
