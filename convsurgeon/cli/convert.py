"""``convert``, ``plan`` and ``apply``."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.cli.completion import complete_model
from convsurgeon.cli.conversion_screen import layers_option, show_report, tell_next, with_outcome
from convsurgeon.cli.data import (
    DataRequest,
    calibration_options,
    evaluation_options,
    preprocessing_options,
    refine_option,
    taken_preprocessing,
    warn_of_skipped,
)
from convsurgeon.cli.options import default_folder, json_option, output_options
from convsurgeon.cli.recipe_options import given_recipe, model_options, plan_options
from convsurgeon.cli.screen import answer, progress_bar, say, warn, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.models.preprocessing import Preparation, Preprocessing
from convsurgeon.planning.recipe import Recipe, merged

if TYPE_CHECKING:
    from convsurgeon.cli.data import Unlabelled
    from convsurgeon.conversion.steps import Patient
    from convsurgeon.models.images import ImageBatches
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.planning.plan import Plan
    from convsurgeon.report.record import Report

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
    igc, igc-b16 and compconv keep macs=50%.
    """
    with working("starting"):
        recipe = given_recipe(recipe_file, given)
        folder = output or default_folder(recipe.model or "", recipe.method.name)
        data = DataRequest(calibrate, images, evaluate, classes, refine, recipe.preprocessing).with_classes_used()
        _refuse_existing(folder, force, dry_run)
    loaded = _load(recipe, device)
    patient = _admit(loaded)
    calibration, evaluation, prepared = data.all(loaded, patient.survey, recipe.seed)
    plan = _plan(patient, recipe, calibration)
    if dry_run:
        _dry(plan, patient, as_json)
    else:
        _operate(patient, plan, calibration, evaluation, prepared, recipe.seed, refine, folder, force, as_json)


@click.command("plan", cls=CommandWithSections)
@click.argument("model", required=False, shell_complete=complete_model)
@plan_options
@calibration_options
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
    **given: Any,
) -> None:
    """Write the plan for MODEL, without changing a weight; 'apply' carries it out."""
    with working("starting"):
        recipe = given_recipe(recipe_file, given)
        folder = default_folder(recipe.model or "", recipe.method.name)
        path = output or folder.with_name(f"{folder.name}.plan.json")
        data = DataRequest(calibrate, images, preprocessing=recipe.preprocessing)
        from convsurgeon.base.files import refuse_existing_file, write_file

        refuse_existing_file(path, force)
    loaded = _load(recipe, device)
    patient = _admit(loaded)
    plan = _plan(patient, recipe, data.calibration(loaded, patient.survey, recipe.seed))
    write_file(path, plan.to_json(), force)
    if as_json:
        answer(plan.to_json())
        return
    show_report(_planned_report(plan, patient))
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
        from convsurgeon.planning.plan import read_plan_file

        plan = read_plan_file(plan_file)
        preprocessing = taken_preprocessing(given, Preprocessing())
        recipe = merged(None, model=plan.model, preprocessing=preprocessing, **given)
        folder = output or default_folder(plan.model, plan.method)
        data = DataRequest(calibrate, images, evaluate, classes, refine, recipe.preprocessing).with_classes_used()
        _refuse_existing(folder, force, dry_run)
    loaded = _load(recipe, device)
    if recipe.input is None:
        inputs = loaded.example_inputs.reshaped(plan.input_shapes, recipe.seed)
        loaded = dataclasses.replace(loaded, example_inputs=inputs)
    patient = _admit(loaded)
    plan.check_fits(patient.survey)
    if dry_run:
        _dry(plan, patient, as_json)
        return
    calibration, evaluation, prepared = data.all(loaded, patient.survey, recipe.seed)
    _operate(patient, plan, calibration, evaluation, prepared, recipe.seed, refine, folder, force, as_json)


def _refuse_existing(folder: Path, force: bool, dry_run: bool) -> None:
    """Before any work is done."""
    if not dry_run:
        from convsurgeon.base.files import refuse_existing
        from convsurgeon.report.folder import SAVED_FILES

        refuse_existing(folder, force, SAVED_FILES)


def _load(recipe: Recipe, device: str) -> LoadedModel:
    """The model that a recipe names, with a warning where its weights turned out random."""
    with working(f"loading {recipe.model}"):
        from convsurgeon.cli.loading import load_telling

        loaded = load_telling(
            recipe.model or "",
            weights=recipe.weights,
            weights_key=recipe.weights_key,
            input_shape=recipe.input,
            device=device,
            seed=recipe.seed,
        )
    if loaded.weights.origin == "random" and recipe.weights != "none":
        warn(
            f"{loaded.spec} has RANDOM weights ({loaded.weights.detail.removeprefix('random: ')}): the result "
            "computes nothing useful. Use --weights FILE or --weights DEFAULT."
        )
    return loaded


def _admit(loaded: LoadedModel) -> Patient:
    with working(f"counting {loaded.spec}"):
        from convsurgeon.conversion.steps import Patient
        from convsurgeon.models.rebuild import Rebuild

        rebuild = Rebuild.of(loaded.spec)
        return Patient.admit(loaded.model, loaded.example_inputs, loaded.weights, name=loaded.spec, rebuild=rebuild)


def _plan(patient: Patient, recipe: Recipe, calibration: Unlabelled | None) -> Plan:
    from convsurgeon.conversion.steps import planned

    with progress_bar() as progress:
        return planned(patient, recipe, calibration=calibration, progress=progress)


def _operate(
    patient: Patient,
    plan: Plan,
    calibration: Unlabelled | None,
    evaluation: ImageBatches | None,
    preparation: Preparation | None,
    seed: int,
    refine: int,
    folder: Path,
    force: bool,
    as_json: bool,
) -> None:
    from convsurgeon.conversion.steps import carry_out

    with progress_bar() as progress:
        done = carry_out(
            patient,
            plan,
            seed=seed,
            calibration=calibration,
            refine=refine,
            judging=calibration.judging if calibration else None,
            evaluation=evaluation,
            preparation=preparation,
            progress=progress,
        )
    warn_of_skipped(*((calibration.batches, calibration.others) if calibration else ()), evaluation)
    done = with_outcome(done, patient)
    done.save(folder, force=force)
    if as_json:
        answer(done.report.to_json())
        return
    show_report(done.report)
    from convsurgeon.models.loading import is_code

    trust = ", trust_factory=True" if patient.rebuild and is_code(patient.rebuild) else ""
    say(f'saved to {folder}; load it with: convsurgeon.load("{folder}"{trust})')
    tell_next(folder, done.report)


def _planned_report(plan: Plan, patient: Patient) -> Report:
    from convsurgeon.report.record import Report

    return Report(plan=plan, weights=patient.weights, inherited="planned only, no weight was changed")


def _dry(plan: Plan, patient: Patient, as_json: bool) -> None:
    report = _planned_report(plan, patient)
    if as_json:
        answer(report.to_json())
        return
    show_report(report)
    say("dry run: nothing was written")
