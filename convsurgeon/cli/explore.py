"""``explore`` and ``compare``: several networks beside each other."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.base.outside_text import in_unicode
from convsurgeon.cli.admission import admit, load
from convsurgeon.cli.command_line import command_line
from convsurgeon.cli.completion import complete_methods, complete_model
from convsurgeon.cli.data import (
    DataRequest,
    calibration_options,
    evaluation_options,
    preprocessing_options,
    refine_option,
)
from convsurgeon.cli.exit_codes import INTERRUPTED
from convsurgeon.cli.options import json_option
from convsurgeon.cli.page_file import html_option, refuse_foreign_page, write_page
from convsurgeon.cli.recipe_options import given_recipe, model_options, plan_options
from convsurgeon.cli.screen import answer, progress_bar, say, show, tell, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.setting_options import setting_options
from convsurgeon.planning.grid import Grid, given_grid, refuse_unknown_point

if TYPE_CHECKING:
    from convsurgeon.conversion.exploring import Exploration
    from convsurgeon.report.comparison import Comparison

__all__ = ["compare_command", "explore_command"]

# Of these the grid has its own words.
_OF_ONE = ("method", "target", "at_least", "minimise", "time_layers")
# What belongs to the exploration and not to one of its networks.
_OF_ALL = ("methods", "targets", "latency", "page", "as_json", "save", "output", "force")


@click.command("explore", cls=CommandWithSections)
@click.argument("model", required=False, shell_complete=complete_model)
@setting_options(
    Grid(),
    Grid.model_fields,
    {"methods": {"metavar": "NAMES", "shell_complete": complete_methods}, "targets": {"metavar": "LIST"}},
)
@partial(plan_options, without=_OF_ONE)
@calibration_options
@refine_option
@evaluation_options
@preprocessing_options
@model_options
@click.option("--save", metavar="POINT", help="Convert this network of the table, e.g. auto-50, and save it to -o.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for --save.  [default: MODEL-POINT]")
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@html_option
@json_option
def explore_command(
    recipe_file: Path | None,
    device: str,
    calibrate: Path | None,
    images: int | None,
    refine: int,
    evaluate: Path | None,
    classes: Path | None,
    save: str | None,
    output: Path | None,
    force: bool,
    page: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Convert MODEL by several methods to several targets, and show what each keeps and costs.

    Damage is measured once. Each network is judged on images that nothing was fitted on; those that nobody beats
    are marked, and so is the knee. What is finished is kept: after an interruption the same command goes on, and with
    --save POINT it only fits that one.
    """
    with working("starting"):
        grid = given_grid(*(given.pop(name) for name in Grid.model_fields))
        recipe = given_recipe(recipe_file, given)
        data = DataRequest(calibrate, images, evaluate, classes, refine, recipe.preprocessing).with_classes_used()
        folder = _folder(save, output, force, recipe.model or "")
        if save is not None:
            refuse_unknown_point(grid, save)
        refuse_foreign_page(page)
    loaded = load(recipe, device)
    patient = admit(loaded)
    from convsurgeon.conversion.exploring import Order, explored

    images_given = data.read(loaded, patient.survey, recipe)
    try:
        with progress_bar() as progress:
            found = explored(Order(patient, recipe, grid, images_given.data, refine), progress)
    except KeyboardInterrupt:
        tell(f"interrupted; what is finished is kept, go on with: {command_line()}")
        return INTERRUPTED
    images_given.warn_of_skipped()
    if save is not None and folder is not None:
        _save(found, save, folder, force)
    _show(_with_commands(found.comparison, _typed(click.get_current_context())), page, as_json)
    if folder is not None:
        (tell if as_json else say)(f"saved {save} to {folder}")
    return 0


@click.command("compare", cls=CommandWithSections)
@click.argument("folders", nargs=-1, required=True, metavar="DIR DIR...", type=click.Path(path_type=Path))
@html_option
@json_option
def compare_command(folders: tuple[Path, ...], page: Path | None, as_json: bool) -> None:
    """Put saved conversions side by side: what each keeps and costs, by their own reports; nothing is run."""
    from convsurgeon.report.comparison import compare

    refuse_foreign_page(page)
    _show(compare(*folders), page, as_json)


def _folder(save: str | None, output: Path | None, force: bool, model: str) -> Path | None:
    """Where the saved network goes; a place that is taken is refused before any work is done."""
    if save is None:
        if output is not None:
            raise UsageError("-o is the folder of --save; pass --save POINT too, e.g. --save auto-50.")
        return None
    from convsurgeon.base.files import refuse_existing
    from convsurgeon.cli.options import default_folder
    from convsurgeon.report.folder import SAVED_FILES

    folder = output or default_folder(model, save)
    refuse_existing(folder, force, SAVED_FILES)
    return folder


def _save(found: Exploration, name: str, folder: Path, force: bool) -> None:
    from convsurgeon.cli.conversion_screen import with_command

    with progress_bar() as progress:
        done = found.convert(name, progress=progress)
    with_command(done).save(folder, force=force)


def _show(comparison: Comparison, page: Path | None, as_json: bool) -> None:
    comparison = comparison.model_copy(update={"command": command_line()})
    if page is not None:
        from convsurgeon.report.page.comparison import to_html

        write_page(page, to_html(comparison))
    if as_json:
        answer(comparison.to_json())
        return
    from convsurgeon.report.comparison_terminal import render

    show(render(comparison))
    for point in comparison.points:
        # Not in the table, where a command would be broken into lines; a network that was trained since has two.
        for line in (point.command or "").splitlines():
            say(f"{point.name}: {line}")


def _typed(context: click.Context) -> list[str]:
    """The options that were typed and hold for each network, spelled out again."""
    words: list[str] = [shlex.quote(str(context.params["model"]))] if context.params.get("model") else []
    for option in context.command.params:
        name = option.name or ""
        typed = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not typed or name in _OF_ALL:
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append(option.opts[0] if value else (option.secondary_opts or option.opts)[0])
        else:
            for part in value if isinstance(value, tuple) else (value,):
                words += [option.opts[0], in_unicode(shlex.quote(str(part)))]
    return words


def _with_commands(comparison: Comparison, typed: list[str]) -> Comparison:
    """Each network with the command that makes it alone."""
    points = tuple(
        point.model_copy(
            update={
                "command": " ".join(
                    [
                        *("convsurgeon", "convert", *typed, "--method", point.method),
                        *(word for target in point.target for word in ("--target", shlex.quote(target))),
                    ]
                )
            }
        )
        if not point.original
        else point
        for point in comparison.points
    )
    return comparison.model_copy(update={"points": points})
