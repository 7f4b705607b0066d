"""``convert``, ``plan`` and ``apply``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.cli.options import (
    Request,
    default_folder,
    json_option,
    model_options,
    output_options,
    plan_options,
)
from convsurgeon.cli.screen import output, warn

if TYPE_CHECKING:
    from convsurgeon.conversion import Conversion
    from convsurgeon.models import LoadedModel
    from convsurgeon.plan import Plan
    from convsurgeon.recipe import Recipe
    from convsurgeon.report import Report

__all__ = ["apply_command", "convert_command", "load_for", "plan_command"]


@click.command("convert")
@click.argument("model", required=False)
@plan_options
@model_options
@output_options
def convert_command(
    device: str, output: Path | None, force: bool, dry_run: bool, as_json: bool, **request: Any
) -> None:
    """Convert MODEL and save the result.

    MODEL is a torchvision name, timm:NAME, package.module:factory or path/file.py:factory (a factory is code, and
    naming it runs it). Without --target, fixed methods such as compconv128 convert every eligible layer; auto, igc
    and compconv keep macs=50%.
    """
    recipe = Request(**request).recipe()
    _check_words(recipe)
    folder = output or default_folder(recipe.model or "", recipe.method)
    if not dry_run:
        from convsurgeon.store import refuse_existing

        refuse_existing(folder, force)
    loaded = load_for(recipe, device)
    from convsurgeon.conversion import carry_out, planned
    from convsurgeon.sites import survey

    found = survey(loaded.model, loaded.example_inputs)
    plan = planned(found, recipe, loaded.spec)
    if dry_run:
        _dry(plan, loaded, as_json)
        return
    done = carry_out(
        loaded.model,
        loaded.example_inputs,
        found,
        plan,
        loaded.weights,
        seed=recipe.seed,
        rebuild=loaded.spec,
    )
    _finish(done, folder, force, as_json)


@click.command("plan")
@click.argument("model", required=False)
@plan_options
@model_options
@json_option
@click.option("--force", is_flag=True, help="Replace the plan file if it exists.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Plan file.  [default: MODEL-METHOD.plan.json]")
def plan_command(device: str, output: Path | None, force: bool, as_json: bool, **request: Any) -> None:
    """Write the plan for MODEL, without changing a weight; 'apply' carries it out."""
    recipe = Request(**request).recipe()
    _check_words(recipe)
    from convsurgeon.conversion import planned
    from convsurgeon.sites import survey
    from convsurgeon.store import write_file

    folder = default_folder(recipe.model or "", recipe.method)
    path = output or folder.with_name(f"{folder.name}.plan.json")
    loaded = load_for(recipe, device)
    plan = planned(survey(loaded.model, loaded.example_inputs), recipe, loaded.spec)
    write_file(path, plan.to_json(), force)
    if as_json:
        click.echo(plan.to_json(), nl=False)
        return
    _show(_planned_report(plan, loaded))
    click.echo(f"plan written to {path}; carry it out with: convsurgeon apply {path}")


@click.command("apply")
@click.argument("plan_file", type=click.Path(path_type=Path))
@model_options
@output_options
def apply_command(
    plan_file: Path,
    device: str,
    seed: int | None,
    input_shape: str | None,
    weights: str | None,
    output: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Carry out PLAN_FILE (written by 'plan', perhaps edited) and save the result.

    The model that the plan names is built, so a plan that names a factory runs its code.
    """
    from convsurgeon.conversion import carry_out
    from convsurgeon.models import load_model
    from convsurgeon.plan import read_plan_file
    from convsurgeon.recipe import Recipe
    from convsurgeon.sites import survey
    from convsurgeon.store import refuse_existing

    plan = read_plan_file(plan_file)
    folder = output or default_folder(plan.model, plan.method)
    if not dry_run:
        refuse_existing(folder, force)
    defaults = Recipe()
    number = defaults.seed if seed is None else seed
    shape = input_shape or (plan.input_shapes[0] if len(plan.input_shapes) == 1 else None)
    loaded = load_model(plan.model, weights=weights or defaults.weights, input_shape=shape, device=device, seed=number)
    _warn_if_random(loaded, weights or defaults.weights)
    found = survey(loaded.model, loaded.example_inputs)
    plan.check_fits(found)
    if dry_run:
        _dry(plan, loaded, as_json)
        return
    done = carry_out(loaded.model, loaded.example_inputs, found, plan, loaded.weights, seed=number, rebuild=loaded.spec)
    _finish(done, folder, force, as_json)


def _check_words(recipe: Recipe) -> None:
    """Refuse a misspelt method or target before a model is built."""
    from convsurgeon.convs import parse_method
    from convsurgeon.targets import parse_targets

    parse_method(recipe.method)
    parse_targets(recipe.target)


def load_for(recipe: Recipe, device: str) -> LoadedModel:
    """The model that a recipe names, with a warning where its weights turned out random."""
    from convsurgeon.models import load_model

    loaded = load_model(
        recipe.model or "", weights=recipe.weights, input_shape=recipe.input, device=device, seed=recipe.seed
    )
    _warn_if_random(loaded, recipe.weights)
    return loaded


def _warn_if_random(loaded: LoadedModel, asked: str) -> None:
    if loaded.weights.origin == "random" and asked != "none":
        warn(
            f"{loaded.spec} has RANDOM weights ({loaded.weights.detail.removeprefix('random: ')}): the result computes nothing useful. "
            "Use --weights FILE or --weights DEFAULT."
        )


def _planned_report(plan: Plan, loaded: LoadedModel) -> Report:
    from convsurgeon.report import make_report

    return make_report(plan, loaded.weights, inherited="planned only, no weight was changed")


def _dry(plan: Plan, loaded: LoadedModel, as_json: bool) -> None:
    report = _planned_report(plan, loaded)
    if as_json:
        click.echo(report.to_json(), nl=False)
        return
    _show(report)
    click.echo("dry run: nothing was written")


def _finish(done: Conversion, folder: Path, force: bool, as_json: bool) -> None:
    done.save(folder, force=force)
    if as_json:
        click.echo(done.report.to_json(), nl=False)
        return
    _show(done.report)
    click.echo(f'saved to {folder}; load it with: convsurgeon.load("{folder}")')


def _show(report: Report) -> None:
    from convsurgeon.report import render

    output().print(render(report))
