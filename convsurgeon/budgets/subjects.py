"""From a budget to a model that can be counted: without weights where it can be built so, else with random ones."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from convsurgeon.base.errors import ModelError, ModelLoadError, UnknownName, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.budgets.config import Entry
from convsurgeon.budgets.entries import Budget
from convsurgeon.budgets.latency import latency_ms
from convsurgeon.budgets.measurement import Measured, measure
from convsurgeon.models.input_sizes import assumption
from convsurgeon.models.loading import build_model, default_inputs, is_code, stated_inputs
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.problem import pose
from convsurgeon.planning.recipe import read_recipe
from convsurgeon.report.folder import MANIFEST, WEIGHTS, read_manifest, read_saved_plan, rebuild_of
from convsurgeon.surgery.operate import operate
from convsurgeon.survey.sites import survey

__all__ = ["measure_budget"]

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def measure_budget(budget: Budget, folder: Path, *, with_latency: bool = False) -> Measured:
    """Build and count what a budget names; names are looked up from ``folder``. A factory's code runs.

    Raises:
        UsageError: an unknown name, a mistake in a recipe, a malformed input shape, a folder that names a factory.
        ModelError: the model can't be built, or fails on its inputs.
    """
    with chdir(folder):
        found = _counted(budget)
        if not with_latency:
            return found
        subject = _open(budget, "cpu")
        return replace(found, latency=latency_ms(subject.model, subject.inputs))


@dataclass(frozen=True)
class _Subject:
    """What is counted; ``assumption`` says so where nothing states the inputs."""

    model: nn.Module
    inputs: Inputs
    assumption: str | None = None

    @classmethod
    def called(cls, model: nn.Module, name: str, shape: tuple[int, ...] | None) -> _Subject:
        """A model with the inputs of its name, unless a shape is given."""
        inputs, stated = stated_inputs(name, shape)
        return cls(model, inputs.like(model), None if stated else assumption(name, inputs))

    def measured(self) -> Measured:
        return replace(measure(self.model, self.inputs), assumption=self.assumption)


def _counted(budget: Budget) -> Measured:
    try:
        return _open(budget, "meta").measured()
    except (ModelError, NotImplementedError):
        # Some models read a number while they are built or run, and some build tensors elsewhere.
        return _open(budget, "cpu").measured()


def _open(budget: Budget, device: str) -> _Subject:
    entry = budget.entry
    if entry.recipe is not None:
        return _planned(entry, entry.recipe, device)
    model = entry.model or ""
    if (Path(model) / MANIFEST).is_file():
        return _saved(Path(model), entry.input, entry.trust_factory, device)
    return _Subject.called(build_model(model, device=device), model, entry.input)


def _planned(entry: Entry, path: str, device: str) -> _Subject:
    """The architecture that a recipe plans without calibration data; the entry's model and input win over its own."""
    recipe = read_recipe(path)
    name = entry.model or recipe.model
    if name is None:
        raise UsageError(f"the recipe {path} names no model; add model = … beside recipe = … in the entry.")
    original = _Subject.called(build_model(name, device=device), name, entry.input or recipe.input)
    plan = make_plan(pose(survey(original.model, original.inputs), recipe, model=name))
    with torch.device(device):
        return replace(original, model=operate(original.model, plan, seed=recipe.seed))


def _saved(folder: Path, shape: tuple[int, ...] | None, trusted: bool, device: str) -> _Subject:
    """The architecture of a converted folder, with the dtypes of its weights but not their numbers."""
    base = _rebuilt_from(folder, trusted)
    plan = read_saved_plan(folder)
    inputs = default_inputs(base, input_shape=shape)
    if shape is None and inputs.shapes() != plan.input_shapes and len(plan.input_shapes) == 1:
        inputs = default_inputs(base, input_shape=plan.input_shapes[0])
    with torch.device(device):
        model = operate(build_model(base, device=device), plan)
    _follow_file(model, folder / WEIGHTS)
    return _Subject(model, inputs.like(model))


def _rebuilt_from(folder: Path, trusted: bool) -> str:
    rebuild = rebuild_of(read_manifest(folder), folder)
    if rebuild is None:
        raise UsageError(f"'{folder}' was converted from a model object, so nothing says how to build it.")
    if is_code(rebuild) and not trusted:
        raise UsageError(
            f"'{folder}' is built by the factory '{rebuild.name}', which is code; set trust_factory = true to run it."
        )
    return rebuild.from_here()


def _follow_file(model: nn.Module, path: Path) -> None:
    """Check names and shapes against the weights' file, and take its dtypes over; no number is read."""
    state = model.state_dict(keep_vars=True)
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                if name not in state or list(state[name].shape) != list(part.get_shape()):
                    raise ModelLoadError(f"{path} does not fit the architecture: '{name}' is not in it as saved.")
                dtype = _DTYPES.get(part.get_dtype(), state[name].dtype)
                if state[name].is_floating_point() and state[name].dtype != dtype:
                    state[name].data = state[name].data.to(dtype)
    except FileNotFoundError as error:
        raise UnknownName(f"no saved model at '{path.parent}': it has no {path.name}.") from error
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(f"{path} can't be read: {error}.") from error
