"""``lower``: a network's deployment form, with equal outputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.devices import require_weights
from convsurgeon.base.errors import UsageError
from convsurgeon.base.generators import kept_generators
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.deployment.lowering.choice import Choice, Fewest, Timed, stopwatch_for
from convsurgeon.deployment.lowering.equality import require_equal
from convsurgeon.deployment.lowering.in_parts import Subject, lowered
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.runtimes.machine import device_of, dtype_of, place
from convsurgeon.runtimes.registry import Runtime, find_runtime, float_precision, require
from convsurgeon.runtimes.timer import QUICK, time_in_turn
from convsurgeon.survey.usable import refuse_unfinite, refuse_unusable

__all__ = ["Lowered", "lower"]


@dataclass(frozen=True, repr=False)
class Lowered:
    """A network in its deployment form.

    Attributes:
        model: an ordinary module in eval mode for inference; ``torch.export`` takes it.
        steps: what each pass did, and what it left alone and why.
        error: the largest ``|a − b| / max |a|`` against the network it was made from, on the inputs and on noise.
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
    refuse_unfinite(model)
    inputs = as_inputs(example_inputs).like(model)
    original = duplicate(model).eval()
    timing = _timing(runtime, precision, original)
    with torch.no_grad(), kept_generators():
        # What fails later is not the fault of model or inputs.
        inputs.call(original)
        subject = Subject.of(original, inputs)
        done = [lowered(subject, _choice(timing, layout), layout) for layout in _layouts(inputs, timing)]
        network, steps = done[0] if timing is None or len(done) == 1 else _faster(done, inputs, timing)
        network.eval()
        error = require_equal(original, network, inputs)
    if timing is None:
        return Lowered(network, steps, error, None, None)
    here = place(timing.runtime.name, timing.precision, device_of(original))
    return Lowered(network, steps, error, here.runtime, here.precision)


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
    return _Timing(runtime, float_precision(runtime, precision, dtype_of(model)))


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
