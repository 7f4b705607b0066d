"""``lower``: a network's deployment form, with equal outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.devices import require_weights
from convsurgeon.base.errors import UsageError, first_line
from convsurgeon.base.generators import kept_generators
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.observe import Before, observed
from convsurgeon.deployment.lowering.choice import Choice, Fewest, Timed, stopwatch_for
from convsurgeon.deployment.lowering.equality import require_equal
from convsurgeon.deployment.lowering.forms import forms_of
from convsurgeon.deployment.lowering.graph import record, traced_parts
from convsurgeon.deployment.lowering.layout import laid_out
from convsurgeon.deployment.lowering.passes.absorb_orders import absorb_orders
from convsurgeon.deployment.lowering.passes.activate_in_place import activate_in_place
from convsurgeon.deployment.lowering.passes.add_onto_shortcuts import add_onto_shortcuts, find_joins
from convsurgeon.deployment.lowering.passes.drop_idle import drop_idle
from convsurgeon.deployment.lowering.passes.fold_batch_norm import fold_batch_norm
from convsurgeon.deployment.lowering.passes.realise_units import choose_forms, realise_units
from convsurgeon.deployment.lowering.passes.wrap_units import wrap_units
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.torch_convs import conv_shape, in_numbers
from convsurgeon.families.unit import CompactConv, GatedConv
from convsurgeon.runtimes.machine import device_of, dtype_of, place
from convsurgeon.runtimes.registry import Runtime, find_runtime, require
from convsurgeon.runtimes.timer import QUICK, time_in_turn
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["Lowered", "lower"]

Calls = Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True, repr=False)
class Lowered:
    """A network in its deployment form.

    Attributes:
        model: an ordinary module in eval mode for inference; ``torch.export`` takes it.
        steps: what each pass did, and what it left alone and why.
        error: the largest |a − b| / max |a| against the network it was made from, on the inputs and on noise.
        runtime: where forms were timed; None where nothing was timed.
        precision: the number format that they were timed in, as a ``Place`` names it.
    """

    model: nn.Module
    steps: tuple[Step, ...]
    error: float
    runtime: str | None
    precision: str | None

    def __repr__(self) -> str:
        return f"Lowered({type(self.model).__name__}, {len(self.steps)} steps, error {self.error:.1e})"

    def summary(self) -> tuple[str, ...]:
        """One line for each pass, how often it did something and how often not, and one for where forms were timed."""
        done = Counter(step.pass_name for step in self.steps if step.done)
        left = Counter(step.pass_name for step in self.steps if not step.done)
        names = dict.fromkeys(step.pass_name for step in self.steps)
        passes = (f"{name}: {done[name]}" + (f", left alone: {left[name]}" if left[name] else "") for name in names)
        timed = () if self.runtime is None else (f"forms timed in {self.runtime}, {self.precision}",)
        return (*passes, *timed)


def lower(
    model: nn.Module, example_inputs: Any, *, runtime: str | None = "eager", precision: str | None = None
) -> Lowered:
    """A copy of any network with the same outputs, made to run fast: for inference only.

    Batch norms are folded into the convolutions before them, compact units become plain convolutions in the form that
    is fastest in ``runtime`` on these inputs, channel shuffles go into neighbouring weights, and activations work in
    place. The outputs are compared (≤ 1e-4 of the largest, in float32). The model is untouched.

    Args:
        model: a converted network or any other; what does not trace is lowered by parts.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        runtime: where forms are timed (``eager``, ``compile``, ``onnxruntime``, ``openvino``); None times nothing and
            takes the form with the fewest multiplications.
        precision: the arithmetic that forms are timed in; None for what the runtime takes by itself, which is the
            weights' own, but bfloat16 in OpenVINO where the processor has it. The weights stay what they are.

    Raises:
        UnknownName, UsageError: a runtime that does not exist, or is not installed, or a precision that it has not.
        ModelLoadError, ModelRunError: the model can't be copied, has no weights (meta device), or fails on the inputs.
    """
    refuse_unusable(model)
    require_weights(model, "lowered")
    inputs = as_inputs(example_inputs).like(model)
    original = duplicate(model).eval()
    timing = _timing(runtime, precision, original)
    with torch.no_grad(), kept_generators():
        # What fails later is not the fault of model or inputs.
        inputs.call(original)
        done = [_lowered(original, inputs, _choice(timing, layout), layout) for layout in _layouts(inputs, timing)]
        lowered, steps = done[0] if timing is None or len(done) == 1 else _faster(done, inputs, timing)
        lowered.eval()
        error = require_equal(original, lowered, inputs)
    if timing is None:
        return Lowered(lowered, steps, error, None, None)
    here = place(timing.runtime.name, timing.precision, device_of(original))
    return Lowered(lowered, steps, error, here.runtime, here.precision)


@dataclass(frozen=True)
class _Timing:
    """Where forms are timed, and in which arithmetic."""

    runtime: Runtime
    precision: str


def _timing(name: str | None, precision: str | None, model: nn.Module) -> _Timing | None:
    """None where nothing is timed.

    Raises:
        UnknownName, UsageError: a runtime that is not there, a precision that it lacks, or one for nothing.
    """
    if name is None:
        if precision is not None:
            raise UsageError(f"precision '{precision}' says what to time in, but no runtime is given; name one.")
        return None
    runtime = find_runtime(name)
    require(runtime)
    known = runtime.precisions(dtype_of(model))
    if precision is not None and precision not in known:
        raise UsageError(f"{name} does not calculate in '{precision}' here; expected {' or '.join(known)}.")
    return _Timing(runtime, precision or runtime.preferred(dtype_of(model)))


def _choice(timing: _Timing | None, layout: torch.memory_format) -> Choice:
    return Fewest() if timing is None else Timed(timing.runtime, timing.precision, layout)


def _layouts(inputs: Inputs, timing: _Timing | None) -> list[torch.memory_format]:
    """Eager kernels choose by the memory format; the other runtimes have layouts of their own."""
    images = any(tensor.dim() == 4 for tensor in inputs.tensors())
    both = timing is not None and timing.runtime.runs_modules and images
    return [torch.contiguous_format, torch.channels_last] if both else [torch.contiguous_format]


def _faster(
    done: list[tuple[nn.Module, tuple[Step, ...]]], inputs: Inputs, timing: _Timing
) -> tuple[nn.Module, tuple[Step, ...]]:
    """The contiguous or the channels-last network, by timing."""
    threads = torch.get_num_threads()
    runs = [timing.runtime.prepare(model, inputs, precision=timing.precision, threads=threads) for model, _ in done]
    contiguous, last = (
        spread.median_ms for spread in time_in_turn(runs, QUICK, stopwatch_for(inputs.tensors()[0].device))
    )
    what = f"{'channels last' if last < contiguous else 'contiguous'}: {min(last, contiguous):.1f} ms"
    what += f" instead of {max(last, contiguous):.1f} ms"
    model, steps = done[1] if last < contiguous else done[0]
    return model, (*steps, Step(pass_name="memory format", where="", what=what))


def _lowered(
    original: nn.Module, inputs: Inputs, choice: Choice, layout: torch.memory_format
) -> tuple[nn.Module, tuple[Step, ...]]:
    """By parts where the whole does not trace, and unit by unit where the parts do not fit back."""
    try:
        return _in_graphs(original, inputs, choice, layout)
    except Exception as error:
        # Any code may stand around the parts: it may index them, or read attributes that graphs do not have.
        model, steps = _unit_by_unit(original, inputs, choice, layout)
        note = Step(pass_name="trace", where="", what=f"unit by unit, because {first_line(error)}", done=False)
        return model, (note, *steps)


def _in_graphs(
    original: nn.Module, inputs: Inputs, choice: Choice, layout: torch.memory_format
) -> tuple[nn.Module, tuple[Step, ...]]:
    model = _plainly(laid_out(duplicate(original), layout))
    parts = traced_parts(model)
    calls = _calls(model, inputs, parts)
    steps: list[Step] = []
    for name, traced in parts.items():
        if name in calls:
            part, done = _lower_part(traced, *calls[name], choice)
            # A part's own graph names its modules from the part on.
            steps += [
                step.model_copy(update={"where": f"{name}.{step.where}" if name else step.where}) for step in done
            ]
            model = _put(model, name, laid_out(part, layout))
    inputs.call(model)
    if _units(model):
        model, found = _unit_by_unit(model, inputs, choice, layout)
        steps += found
    return model, tuple(steps)


def _lower_part(
    traced: fx.GraphModule, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Choice
) -> tuple[fx.GraphModule, list[Step]]:
    """All passes over one graph."""
    traced, dropped = drop_idle(traced)
    traced, folded = fold_batch_norm(wrap_units(traced))
    recording = record(traced, args, kwargs)
    joins = find_joins(traced, recording) if choice.overwrites else {}
    chosen = choose_forms(traced, recording, choice, joins)
    traced, absorbed = absorb_orders(traced, recording, chosen)
    traced, realised = realise_units(traced, recording, chosen, choice, joins)
    traced, added = add_onto_shortcuts(traced, joins)
    traced, activated = activate_in_place(traced)
    return traced, [*dropped, *folded, *absorbed, *realised, *added, *activated]


def _calls(model: nn.Module, inputs: Inputs, names: Mapping[str, object]) -> Calls:
    """What each named module is called with first; a module that is never called has no entry."""
    seen: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def keep(name: str) -> Before:
        def hook(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # Later layers may overwrite what they are given.
            seen.setdefault(name, _copied((args, kwargs)))

        return hook

    with observed(before=[(model.get_submodule(name), keep(name)) for name in names]):
        inputs.call(model)
    return seen


def _copied(values: Any) -> Any:
    from torch.utils._pytree import tree_map_only

    return tree_map_only(Tensor, lambda tensor: tensor.clone(), values)


def _put(model: nn.Module, name: str, part: nn.Module) -> nn.Module:
    """Put a part in the place of a module, at every path that leads to it; the root's part is the model."""
    if not name:
        return part
    old = model.get_submodule(name)
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            model.set_submodule(path, part)
    return model


def _unit_by_unit(
    original: nn.Module, inputs: Inputs, choice: Choice, layout: torch.memory_format
) -> tuple[nn.Module, tuple[Step, ...]]:
    """Compact units become plain convolutions where they stand; nothing around them changes."""
    model = _plainly(laid_out(duplicate(original), layout))
    units = _units(model)
    calls = _calls(model, inputs, units)
    steps = []
    for name, unit in units.items():
        if name in calls:
            absorbed = Absorbed.nothing(unit)
            form = choice.pick(absorbed, forms_of(absorbed), calls[name][0][0], free=False, onto=False)
            model = _put(model, name, laid_out(form.realise(absorbed), layout))
            what = f"{unit.spec.describe()}: {form.name}"
            steps.append(Step(pass_name="units as plain convolutions", where=name, what=what))
    return model, tuple(steps)


def _units(model: nn.Module) -> dict[str, CompactConv]:
    return {name: module for name, module in model.named_modules() if isinstance(module, CompactConv)}


def _plainly(model: nn.Module) -> nn.Module:
    """A convolution that still learns its gates becomes the masked one that it computes; paddings become numbers."""
    for name, module in list(model.named_modules()):
        if isinstance(module, GatedConv):
            model = _put(model, name, convolution(module, module.weight * module.mask(), module.bias))
    for module in model.modules():
        if isinstance(module, PLAIN_CONVS) and type(module) in PLAIN_CONVS:
            module.padding = in_numbers(conv_shape(module))
    return model
