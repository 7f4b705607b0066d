"""The Python API's verbs: inspect, plan, apply, convert."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import Progress
from convsurgeon.base.progress_bar import telling
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.exploring import Exploration, Order, explored
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.requests import conversion_of, plan_of
from convsurgeon.conversion.steps import carry_out
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.floors import Floor
from convsurgeon.planning.grid import given_grid
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_fits import check_fits
from convsurgeon.planning.recipe import Precision, Recipe, merged
from convsurgeon.planning.rules import Rules
from convsurgeon.planning.targets import Metric
from convsurgeon.survey.sites import Survey, survey

__all__ = ["apply", "convert", "explore", "inspect", "plan"]


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
    at_least: str | Floor | Iterable[str | Floor] | None = None,
    minimise: Metric | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    calibration: Iterable[Any] | None = None,
    judging: Iterable[Any] | None = None,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None,
    time_layers: bool | None = None,
    allow_slower: bool | None = None,
    runtime: str | None = None,
    precision: Precision | None = None,
    latency_batch: int | None = None,
    fit_memory: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Plan:
    """Choose what each convolution becomes, without changing a weight; arguments and errors as in ``convert``."""
    clock = {"time_layers": time_layers, "allow_slower": allow_slower, "runtime": runtime, "precision": precision}
    more = {"latency_batch": latency_batch, "fit_memory": fit_memory, "moves": moves, "width_multiple": width_multiple}
    floor = {"at_least": at_least, "minimise": minimise}
    settings = merged(recipe, method=method, target=target, rules=rules, seed=seed, **clock, **more, **floor)
    patient = _admit(model, example_inputs, random_weights=False)
    with telling(progress) as tell:
        return plan_of(patient, settings, Data.of(calibration, judging, evaluation), progress=tell)


def apply(
    model: nn.Module,
    plan: Plan,
    example_inputs: Any,
    *,
    calibration: Iterable[Any] | None = None,
    judging: Iterable[Any] | None = None,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None,
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
    check_fits(plan, patient.survey)
    data = Data.of(calibration, judging, evaluation)
    with telling(progress) as tell:
        return carry_out(patient, plan, data, seed=seed, refine=refine, progress=tell)


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    method: str | None = None,
    target: str | Iterable[str] | None = None,
    moves: str | Iterable[str] | None = None,
    width_multiple: int | None = None,
    at_least: str | Floor | Iterable[str | Floor] | None = None,
    minimise: Metric | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    calibration: Iterable[Any] | None = None,
    judging: Iterable[Any] | None = None,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None,
    refine: int = 0,
    random_weights: bool = False,
    time_layers: bool | None = None,
    allow_slower: bool | None = None,
    runtime: str | None = None,
    precision: Precision | None = None,
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
        moves: ``"swap"``, ``"narrow"``: fewer channels from one layer to the next, ``"streams"``: fewer channels where
            an addition joins layers, ``"drop"``: residual branches left out; several as ``"swap,narrow,streams,drop"``.
            All but swaps need calibration. By itself ``auto`` with calibration does the first three, else swaps alone.
        width_multiple: narrowed streams keep multiples of so many channels (8; in ``onnxruntime`` 16).
        at_least: find the smallest network that keeps this instead, judged on inputs that nothing was fitted on:
            ``"agreement=99%"`` (with the original), ``"top1=-0.5"`` (points, on ``evaluation``), ``"top1=75%"``,
            ``"output-error=1%"``, or ``Floor.of_score(function, least)``; see docs/floor.md.
        minimise: what shall be smallest above that floor: ``macs`` (the default), ``params`` or ``latency``.
        rules: which convolutions may be replaced.
        recipe: a Recipe or its TOML file; the arguments above win over it.
        calibration: unlabelled inputs to measure damage and to fit the new layers on, batch by batch, each element
            as ``example_inputs``, or a pair or dict with one part that is (a DataLoader of images and labels); read
            several times. Without it the fit sees the weights alone, which keeps far less.
        judging: further unlabelled inputs, on which the result is judged only.
        evaluation: labelled batches (inputs [N, …], labels [N]): top-1 accuracy before and after.
        refine: gradient steps at each layer after its closed-form fit on the calibration inputs, for what closed
            forms can't reach.
        random_weights: the model is untrained, so its weights are not worth carrying over.
        time_layers: time every candidate on this machine and leave out swaps that do not pay in time; a latency
            target (``"latency=60%"``) does so by itself.
        allow_slower: take swaps that were timed and do not pay, too.
        runtime: what layers are timed in: ``eager`` (the default), ``onnxruntime`` or ``openvino``.
        precision: the arithmetic to time in: ``float32``, ``bfloat16`` or, where the runtime has it, ``int8``, for a
            network that will be quantised; what the runtime takes by itself without it.
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
    clock = {"time_layers": time_layers, "allow_slower": allow_slower, "runtime": runtime, "precision": precision}
    more = {"latency_batch": latency_batch, "fit_memory": fit_memory, "moves": moves, "width_multiple": width_multiple}
    floor = {"at_least": at_least, "minimise": minimise}
    settings = merged(recipe, method=method, target=target, rules=rules, seed=seed, **clock, **more, **floor)
    patient, data = _admit(model, example_inputs, random_weights), Data.of(calibration, judging, evaluation)
    with telling(progress) as tell:
        return conversion_of(patient, settings, data, refine=refine, progress=tell)


def explore(
    model: nn.Module,
    example_inputs: Any,
    *,
    methods: str | Iterable[str] | None = None,
    targets: str | Iterable[str | float] | None = None,
    latency: bool | None = None,
    moves: str | Iterable[str] | None = None,
    width_multiple: int | None = None,
    rules: Rules | None = None,
    recipe: Recipe | Path | str | None = None,
    calibration: Iterable[Any] | None = None,
    judging: Iterable[Any] | None = None,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None,
    refine: int = 0,
    allow_slower: bool | None = None,
    runtime: str | None = None,
    precision: Precision | None = None,
    latency_batch: int | None = None,
    fit_memory: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Exploration:
    """Convert a model by several methods to several targets, from one calibration, and compare what each keeps.

    Args:
        model, example_inputs: as in ``convert``, like all arguments that are not named here.
        methods: ``"auto,igc"`` or a list (``auto`` alone without it).
        targets: shares of the MACs in percent, or whole targets: ``"75,50"``, ``[75, 50]``, ``["params=40%"]``.
        latency: time each network beside the original, on this machine.

    What is finished is kept in the cache folder, so that the same call goes on after an interruption.

    Raises:
        UsageError: an unknown method or target, no calibration inputs, or none that nothing is fitted on.
        ModelError: the model can't be opened, or fails on the inputs.
    """
    grid = given_grid(methods, targets, latency)
    clock = {"allow_slower": allow_slower, "runtime": runtime, "precision": precision, "latency_batch": latency_batch}
    more = {"fit_memory": fit_memory, "moves": moves, "width_multiple": width_multiple}
    settings = merged(recipe, rules=rules, seed=seed, **clock, **more)
    patient = _admit(model, example_inputs, random_weights=False)
    order = Order(patient, settings, grid, Data.of(calibration, judging, evaluation), refine)
    with telling(progress) as tell:
        return explored(order, tell)


def _admit(model: nn.Module, example_inputs: Any, random_weights: bool) -> Patient:
    inputs = as_inputs(example_inputs).like(model)
    if random_weights:
        weights = WeightsOrigin("random", "said by the caller")
    elif any(tensor.is_meta for tensor in model.parameters()):
        weights = WeightsOrigin("random", "the model is on the meta device, where weights have no values")
    else:
        weights = WeightsOrigin("caller", "the caller's own module")
    return Patient.admit(model, inputs, weights)
