"""What a network can run in, one file per runtime; this list is the only place that names them all."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from convsurgeon.base.errors import UnknownName, UsageError, did_you_mean
from convsurgeon.runtimes.compiled import Compiled
from convsurgeon.runtimes.eager import Eager
from convsurgeon.runtimes.int8_processor import INT8
from convsurgeon.runtimes.machine import dtype_name
from convsurgeon.runtimes.onnx_runtime import OnnxRuntime
from convsurgeon.runtimes.openvino_runtime import OpenVino
from convsurgeon.runtimes.runtime import Runtime

__all__ = [
    "RUNTIMES",
    "Runtime",
    "find_layer_runtime",
    "find_runtime",
    "float_precision",
    "parse_runtimes",
    "require",
    "timed_precision",
]

RUNTIMES: tuple[Runtime, ...] = (Eager(), Compiled(), OnnxRuntime(), OpenVino())


def find_runtime(name: str) -> Runtime:
    """A runtime by its name.

    Raises:
        UnknownName: no runtime has that name.
    """
    for runtime in RUNTIMES:
        if runtime.name == name:
            return runtime
    known = [runtime.name for runtime in RUNTIMES]
    raise UnknownName(f"unknown runtime '{name}'; expected {', '.join(known)}.{did_you_mean(name, known)}")


def find_layer_runtime(name: str) -> Runtime:
    """A runtime, by its name, in which plans can be made of the times of single layers.

    Raises:
        UnknownName: no runtime has that name.
        UsageError: layers alone don't take the time that they take in a network there.
    """
    runtime = find_runtime(name)
    if not runtime.times_layers:
        *others, last = (known.name for known in RUNTIMES if known.times_layers)
        raise UsageError(
            f"layers can't be timed with '{name}': alone they are not what the fused network runs. "
            f"Use --runtime {', '.join(others)} or {last}; 'bench' times whole networks with {name}."
        )
    return runtime


def parse_runtimes(names: str | Iterable[str]) -> tuple[Runtime, ...]:
    """Read ``eager,onnxruntime`` or a list of names; each once, in the given order.

    Raises:
        UnknownName: no runtime has that name.
        UsageError: none named.
    """
    words = names.split(",") if isinstance(names, str) else list(names)
    found = tuple(dict.fromkeys(find_runtime(word.strip()) for word in words if word.strip()))
    if not found:
        raise UsageError(f"no runtime named; expected one or more of {', '.join(r.name for r in RUNTIMES)}.")
    return found


def require(runtime: Runtime) -> None:
    """Refuse a runtime that was asked for and is not here.

    Raises:
        UsageError: with the reason, and what to install.
    """
    if (reason := runtime.available()) is not None:
        raise UsageError(f"the runtime '{runtime.name}' can't be used: {reason}")


def float_precision(runtime: Runtime, wanted: str | None, dtype: torch.dtype) -> str:
    """The number format to calculate in for weights of ``dtype``; None is what the runtime takes by itself.

    Raises:
        UsageError: the runtime lacks the wanted one.
    """
    known = runtime.precisions(dtype)
    if wanted is not None and wanted not in known:
        raise UsageError(f"{runtime.name} does not calculate in '{wanted}' here; expected {' or '.join(known)}.")
    return wanted or runtime.preferred(dtype)


def timed_precision(runtime: Runtime, wanted: str | None, dtype: torch.dtype) -> str:
    """The same for networks that are only timed, which may be quantised for that: int8, too.

    Raises:
        UsageError: the runtime lacks the wanted one, or can't quantise here, with the reason.
    """
    if wanted != INT8:
        return float_precision(runtime, wanted, dtype)
    if (reason := runtime.int8_missing()) is not None:
        raise UsageError(f"nothing can be timed in int8 in the runtime '{runtime.name}': {reason}")
    if dtype != torch.float32:
        raise UsageError(f"int8 starts from float32, and the weights are {dtype_name(dtype)}: model.float().")
    return INT8
