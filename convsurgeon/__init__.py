"""convsurgeon: smaller and faster convolutional networks that keep what they know.

Names are imported on first use, so that ``import convsurgeon`` (and the command line's ``--help``) does not
wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convsurgeon._version import __version__

if TYPE_CHECKING:
    from convsurgeon.accuracy import Accuracy, top1_accuracy
    from convsurgeon.benching import BenchReport, bench
    from convsurgeon.conversion import Conversion
    from convsurgeon.convs import (
        IGC,
        CompConv,
        CompConvSpec,
        DGConv,
        DGConvSpec,
        HardenedDGConv,
        IGCSpec,
        harden,
    )
    from convsurgeon.cost import ConvShape, Cost
    from convsurgeon.counting import count
    from convsurgeon.errors import ConvsurgeonError, ModelError, UsageError
    from convsurgeon.exporting import Exported, export
    from convsurgeon.lowering import Lowered, lower
    from convsurgeon.plans import Plan, read_plan
    from convsurgeon.recipe import Recipe, read_recipe
    from convsurgeon.recovery import ImageSettings, RecoverSettings
    from convsurgeon.recovery.verb import Recovered, recover
    from convsurgeon.report import Report
    from convsurgeon.rules import LayerRule, Rules
    from convsurgeon.sites import Site, Survey
    from convsurgeon.store import load
    from convsurgeon.verbs import apply, convert, inspect, plan

_HOMES = {
    "accuracy": ("Accuracy", "top1_accuracy"),
    "benching": ("BenchReport", "bench"),
    "conversion": ("Conversion",),
    "convs": (
        "IGC",
        "CompConv",
        "CompConvSpec",
        "DGConv",
        "DGConvSpec",
        "HardenedDGConv",
        "IGCSpec",
        "harden",
    ),
    "cost": ("ConvShape", "Cost"),
    "counting": ("count",),
    "errors": ("ConvsurgeonError", "ModelError", "UsageError"),
    "exporting": ("Exported", "export"),
    "lowering": ("Lowered", "lower"),
    "plans": ("Plan", "read_plan"),
    "recipe": ("Recipe", "read_recipe"),
    "recovery": ("ImageSettings", "RecoverSettings"),
    "recovery.verb": ("Recovered", "recover"),
    "report": ("Report",),
    "rules": ("LayerRule", "Rules"),
    "sites": ("Site", "Survey"),
    "store": ("load",),
    "verbs": ("apply", "convert", "inspect", "plan"),
}

__all__ = [
    "IGC",
    "Accuracy",
    "BenchReport",
    "CompConv",
    "CompConvSpec",
    "ConvShape",
    "Conversion",
    "ConvsurgeonError",
    "Cost",
    "DGConv",
    "DGConvSpec",
    "Exported",
    "HardenedDGConv",
    "IGCSpec",
    "ImageSettings",
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
    "Survey",
    "UsageError",
    "__version__",
    "apply",
    "bench",
    "convert",
    "count",
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
