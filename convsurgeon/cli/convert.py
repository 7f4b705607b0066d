"""``convert``, ``plan`` and ``apply``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.admission import admit, load
from convsurgeon.cli.completion import complete_model
from convsurgeon.cli.conversion_screen import layers_option, show_report
from convsurgeon.cli.convert_run import ConvertRun, planned_report
from convsurgeon.cli.data import (
    DataRequest,
    calibration_options,
    evaluation_options,
    preprocessing_options,
    refine_option,
    taken_preprocessing,
)
from convsurgeon.cli.options import default_folder, json_option, output_options
from convsurgeon.cli.recipe_options import given_recipe, model_options, plan_options
from convsurgeon.cli.screen import answer, progress_bar, say, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.planning.recipe import Recipe, merged

__all__ = ["apply_command", "convert_command", "plan_command"]


@click.command("convert", cls=CommandWithSections)
@click.argument("model", required=False, shell_complete=complete_model)
@plan_options
@calibration_options
@refine_option
@evaluation_options
@preprocessing_options
@model_options
@output_options
def convert_command(
    recipe_file: Path | None,
    device: str,
    output: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    calibrate: Path | None,
    images: int | None,
    refine: int,
    evaluate: Path | None,
    classes: Path | None,
    **given: Any,
) -> None:
    """Convert MODEL and save the result.

    MODEL is a torchvision name, timm:NAME, package.module:factory or path/file.py:factory (a factory is code, and
    naming it runs it). Without --target, fixed methods such as compconv128 convert every eligible layer; auto,
    igc, igc-b16, spatial, tucker and compconv keep macs=50%. With --at-least, the smallest network that keeps that is
    looked for.
    """
    with working("starting"):
        recipe = given_recipe(recipe_file, given)
        folder = output or default_folder(recipe.model or "", recipe.method.name)
        data = DataRequest(calibrate, images, evaluate, classes, refine, recipe.preprocessing).with_classes_used()
        run = ConvertRun(recipe, data, device, folder, force, dry_run, as_json)
        run.refuse_existing()
    run.convert()


@click.command("plan", cls=CommandWithSections)
@click.argument("model", required=False, shell_complete=complete_model)
@plan_options
@calibration_options
@evaluation_options
@preprocessing_options
@model_options
@layers_option
@json_option
@click.option("--force", is_flag=True, help="Replace the plan file if it exists.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Plan file.  [default: MODEL-METHOD.plan.json]")
def plan_command(
    recipe_file: Path | None,
    device: str,
    output: Path | None,
    force: bool,
    as_json: bool,
    calibrate: Path | None,
    images: int | None,
    evaluate: Path | None,
    classes: Path | None,
    **given: Any,
) -> None:
    """Write the plan for MODEL, without changing a weight; 'apply' carries it out."""
    with working("starting"):
        recipe = given_recipe(recipe_file, given)
        if evaluate is not None and not recipe.at_least:
            raise UsageError("--evaluate judges the networks of a floor, and a plan alone has none; pass --at-least.")
        folder = default_folder(recipe.model or "", recipe.method.name)
        path = output or folder.with_name(f"{folder.name}.plan.json")
        data = DataRequest(calibrate, images, evaluate, classes, 0, recipe.preprocessing).with_classes_used()
        from convsurgeon.base.files import refuse_existing_file, write_file

        refuse_existing_file(path, force)
    loaded = load(recipe, device)
    patient = admit(loaded)
    from convsurgeon.conversion.requests import plan_of

    images_given = data.read(loaded, patient.survey, recipe)
    with progress_bar() as progress:
        plan = plan_of(patient, recipe, images_given.data, progress=progress)
    images_given.warn_of_skipped()
    write_file(path, plan.to_json(), force)
    if as_json:
        answer(plan.to_json())
        return
    show_report(planned_report(plan, patient))
    say(f"plan written to {path}; carry it out with: {_apply_line(path, recipe, calibrate)}")


def _apply_line(path: Path, recipe: Recipe, calibrate: Path | None) -> str:
    """The command that carries a plan out; a plan holds neither weights nor images, so it names them."""
    weights = () if recipe.weights == "auto" else ("--weights", str(recipe.weights))
    key = () if recipe.weights_key is None else ("--weights-key", recipe.weights_key)
    images = [] if calibrate is None else ["--calibrate", str(calibrate)]
    for name, value in recipe.preprocessing.given.items() if calibrate is not None else ():
        images.extend((f"--{name}", value))
    return shlex.join(["convsurgeon", "apply", str(path), *weights, *key, *images])


@click.command("apply", cls=CommandWithSections)
@click.argument("plan_file", type=click.Path(path_type=Path))
@calibration_options
@refine_option
@evaluation_options
@preprocessing_options
@model_options
@output_options
def apply_command(
    plan_file: Path,
    device: str,
    output: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    calibrate: Path | None,
    images: int | None,
    refine: int,
    evaluate: Path | None,
    classes: Path | None,
    **given: Any,
) -> None:
    """Carry out PLAN_FILE (written by 'plan', perhaps edited) and save the result.

    The model that the plan names is built, so a plan that names a factory runs its code.
    """
    with working("starting"):
        from convsurgeon.planning.plan_file import read_plan_file

        plan = read_plan_file(plan_file)
        preprocessing = taken_preprocessing(given, Preprocessing())
        recipe = merged(None, model=plan.model, preprocessing=preprocessing, **given)
        folder = output or default_folder(plan.model, plan.method)
        data = DataRequest(calibrate, images, evaluate, classes, refine, recipe.preprocessing).with_classes_used()
        run = ConvertRun(recipe, data, device, folder, force, dry_run, as_json)
        run.refuse_existing()
    run.apply(plan)
