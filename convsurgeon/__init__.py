"""convsurgeon: smaller and faster convolutional networks that keep what they know.

Names are imported on first use, so that ``import convsurgeon`` (and the command line's ``--help``) does not
wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convsurgeon._version import __version__

if TYPE_CHECKING:
    from convsurgeon.base.errors import ConvsurgeonError, ModelError, UsageError
    from convsurgeon.conversion.converted import Conversion
    from convsurgeon.conversion.exploring import Exploration
    from convsurgeon.conversion.recover import Recovered, recover
    from convsurgeon.conversion.saved import load
    from convsurgeon.conversion.verbs import apply, convert, explore, inspect, plan
    from convsurgeon.deployment.benching import BenchReport, bench
    from convsurgeon.deployment.exporting import Exported, Int8, export
    from convsurgeon.deployment.lowering import Lowered, lower
    from convsurgeon.families.compconv.spec import CompConvSpec
    from convsurgeon.families.compconv.unit import CompConv
    from convsurgeon.families.cost import ConvShape, Cost
    from convsurgeon.families.dgconv.spec import DGConvSpec
    from convsurgeon.families.dgconv.unit import DGConv, HardenedDGConv, harden
    from convsurgeon.families.igc.spec import IGCSpec
    from convsurgeon.families.igc.unit import IGC
    from convsurgeon.planning.floors import Floor
    from convsurgeon.planning.plan import Plan
    from convsurgeon.planning.plan_file import read_plan
    from convsurgeon.planning.recipe import Recipe, read_recipe
    from convsurgeon.planning.rules import LayerRule, Rules
    from convsurgeon.recovery import ImageSettings, RecoverSettings
    from convsurgeon.report.comparison import Comparison, compare
    from convsurgeon.report.record import Report
    from convsurgeon.survey.counting import count
    from convsurgeon.survey.sites import Site, Survey
    from convsurgeon.survey.streams import Block, Stream
    from convsurgeon.transfer.accuracy import Accuracy, top1_accuracy

_HOMES = {
    "transfer.accuracy": ("Accuracy", "top1_accuracy"),
    "deployment.benching": ("BenchReport", "bench"),
    "conversion.converted": ("Conversion",),
    "families.compconv.spec": ("CompConvSpec",),
    "families.compconv.unit": ("CompConv",),
    "families.dgconv.spec": ("DGConvSpec",),
    "families.dgconv.unit": ("DGConv", "HardenedDGConv", "harden"),
    "families.igc.spec": ("IGCSpec",),
    "families.igc.unit": ("IGC",),
    "families.cost": ("ConvShape", "Cost"),
    "survey.counting": ("count",),
    "base.errors": ("ConvsurgeonError", "ModelError", "UsageError"),
    "deployment.exporting": ("Exported", "Int8", "export"),
    "deployment.lowering": ("Lowered", "lower"),
    "planning.floors": ("Floor",),
    "planning.plan": ("Plan",),
    "planning.plan_file": ("read_plan",),
    "planning.recipe": ("Recipe", "read_recipe"),
    "recovery.settings": ("ImageSettings", "RecoverSettings"),
    "conversion.exploring": ("Exploration",),
    "conversion.recover": ("Recovered", "recover"),
    "report.comparison": ("Comparison", "compare"),
    "report.record": ("Report",),
    "planning.rules": ("LayerRule", "Rules"),
    "survey.sites": ("Site", "Survey"),
    "survey.streams": ("Block", "Stream"),
    "conversion.saved": ("load",),
    "conversion.verbs": ("apply", "convert", "explore", "inspect", "plan"),
}

__all__ = [
    "IGC",
    "Accuracy",
    "BenchReport",
    "Block",
    "CompConv",
    "CompConvSpec",
    "Comparison",
    "ConvShape",
    "Conversion",
    "ConvsurgeonError",
    "Cost",
    "DGConv",
    "DGConvSpec",
    "Exploration",
    "Exported",
    "Floor",
    "HardenedDGConv",
    "IGCSpec",
    "ImageSettings",
    "Int8",
    "LayerRule",
    "Lowered",
    "ModelError",
    "Plan",
    "Recipe",
    "RecoverSettings",
    "Recovered",
    "Report",
    "Rules",
    "Site",
    "Stream",
    "Survey",
    "UsageError",
    "__version__",
    "apply",
    "bench",
    "compare",
    "convert",
    "count",
    "explore",
    "export",
    "harden",
    "inspect",
    "load",
    "lower",
    "plan",
    "read_plan",
    "read_recipe",
    "recover",
    "top1_accuracy",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"convsurgeon.{home}"), name)
    raise AttributeError(f"module 'convsurgeon' has no attribute '{name}'")
