"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from convsurgeon.errors import ModelRunError
from convsurgeon.inputs import Inputs
from convsurgeon.runtimes.onnx_conversion import Exporter, feed_for, onnx_missing, session_for, to_onnx
from convsurgeon.timing.machine import device_of, dtype_name

__all__ = ["OnnxRuntime"]


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime with every graph optimisation; on the CPU, or on CUDA where the model is there."""

    name: str = "onnxruntime"
    batch_norm: str = "folded by the runtime"
    exporter: Exporter = "torch.export"

    def available(self) -> str | None:
        """It needs onnx, onnxscript and onnxruntime."""
        return onnx_missing()

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own."""
        return (dtype_name(dtype),)

    def for_layers(self) -> OnnxRuntime:
        """With the older exporter first, which takes a tenth of the time and makes the same graph of one layer."""
        return replace(self, exporter="TorchScript")

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Export, compare, load.

        Raises:
            ModelRunError: the model can't be exported, or lives on a device that ONNX Runtime does not have.
        """
        providers = _providers(device_of(model))
        graph = to_onnx(model, inputs, dynamic_batch=False, first=self.exporter)
        session = session_for(graph.content, threads=threads, providers=providers)
        feed = feed_for(session, inputs)
        return lambda: session.run(None, feed)


def _providers(device: torch.device) -> tuple[str, ...]:
    import onnxruntime

    if device.type == "cpu":
        return ("CPUExecutionProvider",)
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return ("CUDAExecutionProvider", "CPUExecutionProvider")
    raise ModelRunError(
        f"this ONNX Runtime has no provider for the device '{device}' "
        f"(it has {', '.join(onnxruntime.get_available_providers())}); use --device cpu, or install onnxruntime-gpu."
    )
