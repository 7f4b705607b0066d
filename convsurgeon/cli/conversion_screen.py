"""What a conversion shows when it is done: the answer, every row where they are asked for, and what to do next."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.cli.command_line import command_line
from convsurgeon.cli.screen import say, show, working

if TYPE_CHECKING:
    from convsurgeon.conversion.converted import Conversion
    from convsurgeon.conversion.patient import Patient
    from convsurgeon.report.record import Report

__all__ = ["layers_option", "show_report", "tell_next", "with_command", "with_outcome"]

_LAYERS = "convsurgeon.layers"


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_LAYERS] = value


# Of no concern to what a command does, so no command has to hand it on.
layers_option = click.option(
    "--layers", is_flag=True, expose_value=False, callback=_remember, help="Also show a row for every convolution."
)


def show_report(report: Report) -> None:
    """The answer first."""
    from convsurgeon.report.terminal import render, render_layers

    show(render(report))
    meta: dict[str, Any] = click.get_current_context().meta
    if meta.get(_LAYERS):
        show(render_layers(report))
    else:
        say("a row for every convolution: --layers")


def with_outcome(done: Conversion, patient: Patient) -> Conversion:
    """The same with the command that made it, and with its time beside the original's where that is found out soon."""
    from convsurgeon.conversion.quick_timing import quick_timing

    timing = None
    if done.plan.latency is None:
        with working("timing a forward"):
            timing = quick_timing(patient.model, done.model, patient.inputs)
    timed = dataclasses.replace(done, report=done.report.model_copy(update={"timing": timing}))
    return with_command(timed)


def with_command(done: Conversion) -> Conversion:
    """The same with the command that made it; further ones follow on lines of their own."""
    before = done.report.command
    command = command_line() if before is None else f"{before}\n{command_line()}"
    return dataclasses.replace(done, report=done.report.model_copy(update={"command": command}))


def tell_next(folder: Path, report: Report) -> None:
    """The commands that people go on with."""
    from convsurgeon.models.loading import is_factory

    name = shlex.quote(str(folder))
    say(f"as a page: convsurgeon report {name} --html {shlex.quote(f'{folder.name}.html')}")
    name += " --trust-factory" if is_factory(report.plan.model) else ""
    steps = [f"bench {name}", f"export {name} -o {shlex.quote(f'{folder.name}.onnx')}"]
    if report.weights.origin != "random":
        steps.insert(0, f"recover {name} --data IMAGES")
    say(f"next: convsurgeon {', '.join(steps)}")
