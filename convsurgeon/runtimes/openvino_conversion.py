"""A network as an OpenVINO model, in memory, compared with the module in float32 before anybody gets it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import INTERRUPTIONS, ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes, axes_of, axes_to_try, sizes_to_compare
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.closeness import allowed, largest_disagreement
from convsurgeon.runtimes.onnx_conversion import onnx_missing, to_onnx
from convsurgeon.runtimes.openvino_package import converted_by_openvino, openvino_core

__all__ = ["OpenVinoModel", "compiled_for", "run_openvino", "to_openvino"]


@dataclass(frozen=True)
class OpenVinoModel:
    """A model (``openvino.Model``) that was compared with its module.

    Attributes:
        model: with any length of the ``free`` axes.
        source: read from the module itself, or through ONNX.
        error: the largest |a − b| / max(1, max |a|) seen in the comparison, in float32.
        problems: what the attempts before this one failed with.
    """

    model: Any
    source: Literal["module", "ONNX"]
    free: FreeAxes
    error: float
    problems: tuple[str, ...] = ()


def to_openvino(model: nn.Module, inputs: Inputs, *, free: FreeAxes | None = None) -> OpenVinoModel:
    """Convert a copy in eval mode on the CPU, and compare its outputs with the module's.

    ``free`` names the axes of any length; None is the batch where that can be, which is tried first.

    Raises:
        ModelRunError: no way leads to a model that computes the same; the message holds what each failed with.
    """
    # Copied weights of a traced layer would hang on the originals' gradients.
    with torch.no_grad():
        copy = duplicate(model).eval().cpu()
    given = inputs.to("cpu")
    tolerance = allowed(copy)
    ways = {"module": _from_module} | ({} if onnx_missing() else {"ONNX": _through_onnx})
    problems: list[str] = []
    for source, convert in ways.items():
        for axes in axes_to_try(free):
            try:
                with warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")
                    converted = convert(copy, given, axes)
                    compiled = compiled_for(converted, precision="float32", threads=torch.get_num_threads())
                    run = partial(run_openvino, compiled)
                    error = largest_disagreement(copy, run, sizes_to_compare(given, axes))
            except INTERRUPTIONS:
                raise
            # It raises whatever the traced code and its frontends do; every failure leads to the next attempt.
            except BaseException as raised:
                problems.append(f"from the {source}: {first_line(raised)}")
                continue
            if error <= tolerance:
                way: Literal["module", "ONNX"] = "module" if source == "module" else "ONNX"
                return OpenVinoModel(converted, way, axes, error, tuple(problems))
            problems.append(f"from the {source}: its outputs differ by {error:.1e}, allowed {tolerance:.0e}")
    raise ModelRunError(f"the model can't be converted to OpenVINO. {'; '.join(problems)}.")


def _from_module(model: nn.Module, inputs: Inputs, axes: FreeAxes) -> Any:
    example: Any = dict(inputs.kwargs) if inputs.kwargs and not inputs.args else tuple(inputs.args)
    if inputs.kwargs and inputs.args:
        raise ModelRunError("positional and keyword arguments together can't be traced")
    converted = converted_by_openvino(model, example)
    _set_shapes(converted, inputs, axes)
    return converted


def _through_onnx(model: nn.Module, inputs: Inputs, axes: FreeAxes) -> Any:
    graph = to_onnx(model, inputs, free=axes)
    converted = openvino_core().read_model(graph.content)
    _set_shapes(converted, inputs, axes)
    return converted


def _set_shapes(converted: Any, inputs: Inputs, axes: FreeAxes) -> None:
    """The inputs' shapes, but for the free axes: a traced model leaves every axis free, which is slower."""
    tensors, free = inputs.tensors(), axes_of(inputs, axes)
    if len(tensors) != len(converted.inputs):
        raise ModelRunError(f"the model takes {len(converted.inputs)} tensors there, {len(tensors)} here")
    shapes = {
        port: [-1 if place in free(tensor) else length for place, length in enumerate(tensor.shape)]
        for port, tensor in zip(converted.inputs, tensors, strict=True)
    }
    converted.reshape(shapes)


_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def compiled_for(converted: Any, *, precision: str, threads: int) -> Any:
    """Compiled for the CPU and for the latency of one request, calculating in ``precision``.

    Raises:
        ModelRunError: a precision that OpenVINO does not calculate in.
    """
    if precision not in _HINTS:
        raise ModelRunError(
            f"OpenVINO does not calculate in {precision} but in {', '.join(_HINTS)}; convert the model (model.float())."
        )
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    return openvino_core().compile_model(converted, "CPU", settings)


def run_openvino(compiled: Any, inputs: Inputs) -> list[torch.Tensor]:
    """One run; tensors go in and come out in order."""
    results = compiled([tensor.detach().cpu().numpy() for tensor in inputs.tensors()])
    return [torch.as_tensor(results[port].copy()) for port in compiled.outputs]
