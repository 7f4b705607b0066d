"""``inspect``, ``report``, ``methods`` and ``schema``: commands that only tell."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from convsurgeon.cli.completion import complete_model
from convsurgeon.cli.conversion_screen import layers_option, show_report
from convsurgeon.cli.options import json_option
from convsurgeon.cli.page_file import html_option, refuse_foreign_page, write_page
from convsurgeon.cli.recipe_options import model_options
from convsurgeon.cli.screen import answer, say, show, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.planning.recipe import Recipe, merged
from convsurgeon.report.page.conversion import to_html
from convsurgeon.report.renderers import RENDERERS

__all__ = ["inspect_command", "methods_command", "report_command", "schema_command"]

_WITHOUT_WEIGHTS = Recipe(weights="none")


@click.command("inspect", cls=CommandWithSections)
@click.argument("model", shell_complete=complete_model)
@partial(model_options, defaults=_WITHOUT_WEIGHTS)
@json_option
def inspect_command(model: str, device: str, as_json: bool, **given: Any) -> None:
    """List every convolution of MODEL: shape, MACs, params, share, eligible or why not.

    No weights are read unless --weights asks for them.
    """
    with working(f"inspecting {model}"):
        from convsurgeon.cli.loading import load_telling
        from convsurgeon.report import inspection
        from convsurgeon.survey.sites import survey

        recipe = merged(_WITHOUT_WEIGHTS, model=model, **given)
        loaded = load_telling(
            model,
            weights=recipe.weights,
            weights_key=recipe.weights_key,
            input_shape=recipe.input,
            device=device,
            seed=recipe.seed,
        )
        found = survey(loaded.model, loaded.example_inputs)
    if as_json:
        answer(json.dumps(inspection.as_data(loaded.spec, found), indent=2))
    else:
        show(inspection.render(loaded.spec, found))


@click.command("report", cls=CommandWithSections)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(list(RENDERERS)),
    default="terminal",
    show_default=True,
    help="How to show it.",
)
@click.option("--markdown", is_flag=True, help="The same as --format markdown.")
@layers_option
@html_option
@json_option
def report_command(folder: Path, form: str, page: Path | None, markdown: bool, as_json: bool) -> None:
    """Show the report of a saved conversion in FOLDER."""
    form = "json" if as_json else "markdown" if markdown else form
    from convsurgeon.report.folder import read_report

    refuse_foreign_page(page)
    report = read_report(folder)
    if page is not None:
        write_page(page, to_html(report))
    if form == "terminal":
        show_report(report)
    else:
        answer(str(RENDERERS[form](report)))


@click.command("methods", cls=CommandWithSections)
@json_option
def methods_command(as_json: bool) -> None:
    """List the methods: what each is, where it comes from, when it pays and when it does not."""
    from dataclasses import asdict

    from convsurgeon.families import CARDS

    if as_json:
        answer(json.dumps([asdict(card) for card in CARDS], indent=2, ensure_ascii=False))
        return
    for card in CARDS:
        say(f"{card.title}  ({card.paper})")
        for label in ("methods", "idea", "good_for", "bad_for", "legend"):
            if not getattr(card, label):
                continue
            say(f"  {label.replace('_', ' ') + ':':10}{getattr(card, label)}")
        say("")


@click.command("schema", cls=CommandWithSections)
@click.argument("record", type=click.Choice(["recipe", "plan", "report", "budgets", "check", "bench", "comparison"]))
def schema_command(record: str) -> None:
    """Print the JSON Schema of a recipe, a plan, a report, a budget configuration, or what a command prints as JSON."""
    from pydantic import BaseModel

    from convsurgeon.budgets import CheckReport, Settings
    from convsurgeon.deployment.benching.record import BenchReport
    from convsurgeon.planning.plan import Plan
    from convsurgeon.report.comparison import Comparison
    from convsurgeon.report.record import Report

    records: dict[str, type[BaseModel]] = {
        "recipe": Recipe,
        "plan": Plan,
        "report": Report,
        "budgets": Settings,
        "check": CheckReport,
        "bench": BenchReport,
        "comparison": Comparison,
    }
    answer(json.dumps(records[record].model_json_schema(), indent=2, ensure_ascii=False))
