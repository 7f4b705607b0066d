"""A network as an ONNX graph, in memory, compared with the module in ONNX Runtime before anybody gets it.

The default exporter (torch.export) comes first; where it fails, or its graph computes something else, the older one
(TorchScript) is tried, and last a fixed batch size, unless a free one was asked for.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import INTERRUPTIONS, ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes, axes_of, axes_to_try, free_in_words, size_to_trace, sizes_to_compare
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.working_folder import staying_here
from convsurgeon.runtimes.closeness import allowed, largest_disagreement
from convsurgeon.runtimes.export_axes import BY_NAME, export_axes
from convsurgeon.runtimes.machine import dtype_name, dtype_of
from convsurgeon.runtimes.runtime import missing
from convsurgeon.runtimes.tensor_names import input_names, output_names

__all__ = [
    "Exporter",
    "OnnxGraph",
    "known_opsets",
    "onnx_missing",
    "quiet_exporters",
    "run_onnx",
    "session_for",
    "to_onnx",
]

Exporter = Literal["torch.export", "TorchScript"]

_OLDEST_OPSET = 7

# Protocol buffers end at 2 GiB.
_MOST_BYTES = 2**31

_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


@dataclass(frozen=True)
class OnnxGraph:
    """A graph that was compared with its module.

    Attributes:
        content: the ONNX file's bytes, weights included.
        exporter: which of PyTorch's exporters made it.
        free: the axes of any length; compared in two lengths of each.
        error: the largest |a − b| / max(1, max |a|) seen in the comparison.
        problems: what the attempts before this one failed with.
    """

    content: bytes
    exporter: Exporter
    free: FreeAxes
    error: float
    problems: tuple[str, ...] = ()


def onnx_missing() -> str | None:
    """Which package is missing; None if all are there."""
    return missing(("onnx", "onnxscript", "onnxruntime"), "onnx")


def known_opsets() -> range:
    """The versions of ONNX's operators that there are, from the oldest that PyTorch writes."""
    import onnx

    return range(_OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1)


def to_onnx(
    model: nn.Module,
    inputs: Inputs,
    *,
    free: FreeAxes | None = None,
    opset: int | None = None,
    first: Exporter = "torch.export",
) -> OnnxGraph:
    """Export a copy in eval mode on the CPU, and compare its outputs with the module's in ONNX Runtime.

    ``free`` names the axes of any length; None is the batch where that can be, which is tried first. ``opset`` is the
    version of ONNX's operators, None the exporter's own. ``first`` names the exporter that is tried first.

    Raises:
        ModelRunError: no exporter makes a graph that computes the same; the message holds what each failed with. Or
            the weights are too many for one file.
    """
    _refuse_too_many_weights(model)
    copy = duplicate(model).eval().cpu()
    given = inputs.to("cpu")
    tolerance = allowed(copy)
    problems: list[str] = []
    for exporter, axes in _attempts(first, free):
        try:
            with quiet_exporters(), torch.no_grad():
                content = _EXPORT[exporter](copy, size_to_trace(given, axes), axes, opset)
            run = partial(run_onnx, session_for(content, threads=torch.get_num_threads()))
            error = largest_disagreement(copy, run, sizes_to_compare(given, axes))
        except INTERRUPTIONS:
            raise
        # Exporters raise whatever the traced code and their dependencies do; every failure leads to the next attempt.
        except BaseException as error_raised:
            problems.append(f"{_attempt(exporter, axes)}: {first_line(error_raised)}")
            continue
        if error <= tolerance:
            return OnnxGraph(content, exporter, axes, error, tuple(problems))
        problems.append(f"{_attempt(exporter, axes)}: its outputs differ by {error:.1e}, allowed {tolerance:.0e}")
    raise ModelRunError(f"the model can't be exported to ONNX. {_remedy(model)}{'; '.join(problems)}.")


def _remedy(model: nn.Module) -> str:
    """What to do about weights that ONNX Runtime has no convolution for (bfloat16, float64)."""
    own = dtype_name(dtype_of(model))
    return "" if own == "float32" else f"Its weights are {own}; export the model in float32 (model.float()). "


def _refuse_too_many_weights(model: nn.Module) -> None:
    """Before an exporter crashes the process on them."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size >= _MOST_BYTES:
        raise ModelRunError(
            f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds less than 2 GiB; export to .pt2 or .xml."
        )


def _attempts(first: Exporter, free: FreeAxes | None) -> list[tuple[Exporter, FreeAxes]]:
    exporters: list[Exporter] = sorted(_EXPORT, key=lambda exporter: exporter != first)
    return [(exporter, axes) for axes in axes_to_try(free) for exporter in exporters]


def _attempt(exporter: Exporter, axes: FreeAxes) -> str:
    return f"{exporter} with {free_in_words(axes)}"


def _by_torch_export(model: nn.Module, inputs: Inputs, axes: FreeAxes, opset: int | None) -> bytes:
    program = torch.onnx.export(
        model,
        tuple(inputs.args),
        kwargs=dict(inputs.kwargs),
        dynamo=True,
        dynamic_shapes=export_axes(inputs, axes, BY_NAME),
        opset_version=opset,
        input_names=input_names(model, inputs),
        output_names=output_names(model, inputs),
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise ModelRunError("the exporter returned nothing")
    written = next(entry.version for entry in program.model_proto.opset_import if not entry.domain)
    if opset not in (None, written):
        raise ModelRunError(f"it writes opset {written} instead of {opset}")
    return bytes(program.model_proto.SerializeToString())


def _by_torchscript(model: nn.Module, inputs: Inputs, axes: FreeAxes, opset: int | None) -> bytes:
    names = input_names(model, inputs)
    free = dict(zip(names, map(axes_of(inputs, axes), inputs.tensors()), strict=True)) if axes else {}
    file = io.BytesIO()
    torch.onnx.export(
        model,
        (*inputs.args, dict(inputs.kwargs)) if inputs.kwargs else tuple(inputs.args),
        file,  # type: ignore[arg-type]
        dynamo=False,
        input_names=names,
        output_names=output_names(model, inputs),
        dynamic_axes={name: places for name, places in free.items() if places} or None,
        opset_version=opset,
    )
    return file.getvalue()


_EXPORT: dict[Exporter, Callable[[nn.Module, Inputs, FreeAxes, int | None], bytes]] = {
    "torch.export": _by_torch_export,
    "TorchScript": _by_torchscript,
}


def session_for(content: bytes, *, threads: int) -> Any:
    """An ONNX Runtime session with every graph optimisation on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads wait for the next run by spinning, and would take the processor from whatever is timed in turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, inputs: Inputs) -> list[torch.Tensor]:
    """One run; tensors go in and come out in order."""
    return [torch.as_tensor(output) for output in session.run(None, feed_for(session, inputs))]


def feed_for(session: Any, inputs: Inputs) -> dict[str, Any]:
    """The graph's inputs by name.

    Raises:
        ModelRunError: the graph takes another number of tensors, e.g. because it ignores one.
    """
    names = [value.name for value in session.get_inputs()]
    tensors = inputs.tensors()
    if len(names) != len(tensors):
        raise ModelRunError(f"the graph takes {len(names)} tensors, the model {len(tensors)}")
    return {name: tensor.detach().cpu().numpy() for name, tensor in zip(names, tensors, strict=True)}


@contextmanager
def quiet_exporters() -> Iterator[None]:
    """No warnings from exporters inside, since outputs are compared anyway; the current folder stays what it is.

    They run the forward, which is code of anybody's.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), staying_here():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
