"""The Python API's verbs: inspect, plan, apply, convert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import Progress
from convsurgeon.base.progress_bar import telling
from convsurgeon.conversion.steps import Conversion, Patient, carry_out, planned
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.recipe import Recipe, merged
from convsurgeon.planning.rules import Rules
from convsurgeon.survey.sites import Survey, survey

__all__ = ["apply", "convert", "inspect", "plan"]


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
    moves: str | Iterable[str] | None = None,
    width_multiple: int | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    calibration: Iterable[Any] | None = None,
    time_layers: bool | None = None,
    allow_slower: bool | None = None,
    runtime: str | None = None,
    latency_batch: int | None = None,
    fit_memory: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Plan:
    """Choose what each convolution becomes, without changing a weight; arguments and errors as in ``convert``."""
    clock = {"time_layers": time_layers, "allow_slower": allow_slower, "runtime": runtime}
    more = {"latency_batch": latency_batch, "fit_memory": fit_memory, "moves": moves, "width_multiple": width_multiple}
    settings = merged(recipe, method=method, target=target, rules=rules, seed=seed, **clock, **more)
    patient = _admit(model, example_inputs, random_weights=False)
    with telling(progress) as tell:
        return planned(patient, settings, calibration=calibration, progress=tell)


def apply(
    model: nn.Module,
    plan: Plan,
    example_inputs: Any,
    *,
    calibration: Iterable[Any] | None = None,
    refine: int = 0,
    random_weights: bool = False,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Conversion:
    """Carry out a plan on a copy of the model; arguments and errors as in ``convert``.

    Raises:
        UnknownName: the plan was made for another model.
    """
    patient = _admit(model, example_inputs, random_weights)
    plan.check_fits(patient.survey)
    with telling(progress) as tell:
        return carry_out(patient, plan, seed=seed, calibration=calibration, refine=refine, progress=tell)


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    method: str | None = None,
    target: str | Iterable[str] | None = None,
    moves: str | Iterable[str] | None = None,
    width_multiple: int | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    calibration: Iterable[Any] | None = None,
    refine: int = 0,
    random_weights: bool = False,
    time_layers: bool | None = None,
    allow_slower: bool | None = None,
    runtime: str | None = None,
    latency_batch: int | None = None,
    fit_memory: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Conversion:
    """Replace convolutions by compact ones under a target, in a copy of the model.

    Args:
        model: any module; itself, its train flags and its batch-norm statistics stay as they are.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        method: ``auto`` (the default), ``compconv128``, ``igc``, …; see ``convsurgeon methods``.
        target: what to keep at most, e.g. ``"macs=50%"`` or ``["macs=2.0G", "params=12M", "latency=60%"]``.
        moves: ``"swap"`` (the default), ``"narrow"``: fewer channels from one layer to the next, ``"streams"``: fewer
            channels where an addition joins layers; several as ``"swap,narrow,streams"``. Narrowing needs calibration.
        width_multiple: narrowed streams keep multiples of so many channels (8).
        rules: which convolutions may be replaced.
        recipe: a Recipe or its TOML file; the arguments above win over it.
        calibration: unlabelled inputs to measure damage and to fit the new layers on, batch by batch, each element
            as ``example_inputs``, or a pair or dict with one part that is (a DataLoader of images and labels); read
            several times. Without it the fit sees the weights alone, which keeps far less.
        refine: gradient steps at each layer after its closed-form fit on the calibration inputs, for what closed
            forms can't reach.
        random_weights: the model is untrained, so its weights are not worth carrying over.
        time_layers: time every candidate on this machine and leave out swaps that do not pay in time; a latency
            target (``"latency=60%"``) does so by itself.
        allow_slower: take swaps that were timed and do not pay, too.
        runtime: what layers are timed in: ``eager`` (the default), ``onnxruntime`` or ``openvino``.
        latency_batch: the batch size to time in; the example inputs' own without it.
        fit_memory: GiB that fitting a layer may take (half of the memory at hand without it); layers that need more
            stay, with the reason.
        seed: of fresh weights and of subsampling (default 0, or the recipe's).
        progress: called with the stage, layers done, layers in all, and the name of the next one; a bar shows by
            itself on a terminal and in notebooks, False keeps it away.

    Raises:
        UsageError: an unknown method, rule or recipe, an unreachable target, nothing eligible.
        ModelError: the model can't be opened, or fails on the inputs.
    """
    clock = {"time_layers": time_layers, "allow_slower": allow_slower, "runtime": runtime}
    more = {"latency_batch": latency_batch, "fit_memory": fit_memory, "moves": moves, "width_multiple": width_multiple}
    settings = merged(recipe, method=method, target=target, rules=rules, seed=seed, **clock, **more)
    patient = _admit(model, example_inputs, random_weights)
    if isinstance(calibration, Iterator):
        # Measuring would leave nothing of it to fit on.
        calibration = list(calibration)
    with telling(progress) as tell:
        chosen = planned(patient, settings, calibration=calibration, progress=tell)
        return carry_out(patient, chosen, seed=settings.seed, calibration=calibration, refine=refine, progress=tell)


def _admit(model: nn.Module, example_inputs: Any, random_weights: bool) -> Patient:
    inputs = as_inputs(example_inputs).like(model)
    if random_weights:
        weights = WeightsOrigin("random", "said by the caller")
    elif any(tensor.is_meta for tensor in model.parameters()):
        weights = WeightsOrigin("random", "the model is on the meta device, where weights have no values")
    else:
        weights = WeightsOrigin("caller", "the caller's own module")
    return Patient.admit(model, inputs, weights)
