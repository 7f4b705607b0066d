"""The whole conversion as one call: survey → plan → surgery → inherit → verify → report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convsurgeon.inputs import Inputs, as_inputs
from convsurgeon.plan import Plan, make_plan
from convsurgeon.recipe import Recipe, read_recipe
from convsurgeon.report import Report, make_report
from convsurgeon.rules import Rules
from convsurgeon.sites import Survey, survey
from convsurgeon.store import save
from convsurgeon.surgery import operate
from convsurgeon.verify import verify
from convsurgeon.weights import WeightsOrigin

__all__ = ["Conversion", "apply", "convert", "inspect", "plan"]

_CALLERS = WeightsOrigin("caller", "the caller's own module")


@dataclass(frozen=True)
class Conversion:
    """A converted network: ``model`` (same class, device, dtype and mode as the original), its plan and report."""

    model: nn.Module
    plan: Plan
    report: Report
    rebuild: str | None = None

    def save(self, directory: Path | str, *, force: bool = False) -> Path:
        """Write a folder that ``convsurgeon.load`` reads: safetensors weights, plan and report as JSON.

        Raises:
            OutputExists: the folder is there and ``force`` is not given.
        """
        return save(Path(directory), self.model, self.plan, self.report, self.rebuild, force)


def inspect(model: nn.Module, example_inputs: Any) -> Survey:
    """Every convolution of a model: shape, MACs of one forward on the inputs, parameters, eligible or why not.

    ``example_inputs`` is a tensor, a tuple of positional arguments or a dict of keyword arguments.

    Raises:
        ModelLoadError: the model is wrapped, scripted, compiled, quantised or can't be copied.
        ModelRunError: the model fails on these inputs.
    """
    return survey(model, as_inputs(example_inputs).like(model))


def plan(
    model: nn.Module,
    example_inputs: Any,
    *,
    method: str | None = None,
    target: str | Iterable[str] | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
) -> Plan:
    """Choose what each convolution becomes, without changing a weight.

    Arguments win over the recipe. Without either, the method is ``auto``; see ``make_plan`` for missing targets.

    Raises:
        UnknownName, TargetError, NothingToConvert, RecipeError: see ``make_plan`` and ``read_recipe``.
        ModelLoadError, ModelRunError: see ``inspect``.
    """
    settings = merged(recipe, method=method, target=target, rules=rules)
    return planned(inspect(model, example_inputs), settings, "model")


def apply(
    model: nn.Module,
    plan: Plan,
    example_inputs: Any,
    *,
    random_weights: bool = False,
    seed: int = 0,
) -> Conversion:
    """Carry out a plan on a copy of the model; arguments and errors as in ``convert``.

    Raises:
        UnknownName: the plan was made for another model.
    """
    inputs = as_inputs(example_inputs).like(model)
    found = survey(model, inputs)
    plan.check_fits(found)
    weights = WeightsOrigin("random", "said by the caller") if random_weights else _CALLERS
    return carry_out(model, inputs, found, plan, weights, seed=seed)


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    method: str | None = None,
    target: str | Iterable[str] | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    random_weights: bool = False,
    seed: int | None = None,
) -> Conversion:
    """Replace convolutions by compact ones under a target, in a copy of the model.

    Args:
        model: any module; itself, its train flags and its batch-norm statistics stay as they are.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        method: ``auto`` (default), ``compconv128``, ``igc``, …; see ``convsurgeon methods``.
        target: what to keep at most, e.g. ``"macs=50%"`` or ``["macs=2.0G", "params=12M"]``.
        rules: which convolutions may be replaced.
        recipe: a Recipe or its TOML file; the arguments above win over it.
        random_weights: the model is untrained, so its weights are not worth carrying over.
        seed: of fresh weights (default 0, or the recipe's).

    Raises:
        UsageError: an unknown method, rule or recipe, an unreachable target, nothing eligible.
        ModelError: the model can't be opened, or fails on the inputs.
    """
    settings = merged(recipe, method=method, target=target, rules=rules, seed=seed)
    inputs = as_inputs(example_inputs).like(model)
    found = survey(model, inputs)
    weights = WeightsOrigin("random", "said by the caller") if random_weights else _CALLERS
    return carry_out(model, inputs, found, planned(found, settings, "model"), weights, seed=settings.seed)


def merged(recipe: Recipe | Path | str | None, **given: Any) -> Recipe:
    """A recipe with the given values in place of its own; None leaves the recipe's."""
    base = read_recipe(recipe) if isinstance(recipe, (str, Path)) else recipe or Recipe()
    changes = {key: value for key, value in given.items() if value is not None}
    if "target" in changes:
        changes["target"] = (changes["target"],) if isinstance(changes["target"], str) else tuple(changes["target"])
    return base.model_copy(update=changes)


def planned(found: Survey, settings: Recipe, name: str) -> Plan:
    """The plan that a recipe asks for."""
    return make_plan(found, model=name, method=settings.method, target=settings.target or None, rules=settings.rules)


def carry_out(
    model: nn.Module,
    inputs: Inputs,
    found: Survey,
    plan: Plan,
    weights: WeightsOrigin,
    *,
    seed: int,
    rebuild: str | None = None,
) -> Conversion:
    """Surgery, weight transfer and verification of one plan."""
    network = operate(model, plan, seed=seed)
    inherited = f"freshly initialised from seed {seed}"
    notes = verify(model, network, plan, found, inputs)
    report = make_report(plan, weights, inherited=inherited, notes=notes)
    return Conversion(network, plan, report, rebuild)
