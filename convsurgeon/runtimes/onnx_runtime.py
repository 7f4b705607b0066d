"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.between_layers import between_layers
from convsurgeon.runtimes.int8_processor import INT8, no_int8_instructions
from convsurgeon.runtimes.machine import device_of, dtype_name
from convsurgeon.runtimes.onnx_conversion import Exporter, feed_for, onnx_missing, session_for, to_onnx
from convsurgeon.runtimes.onnx_int8 import onnx_in_int8

__all__ = ["OnnxRuntime"]


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime on the CPU with every graph optimisation."""

    name: str = "onnxruntime"
    # With AVX-512 it computes in blocks of 16 channels, pads others, and leaves the blocks for a pooling of others.
    width_multiple: int = 16
    batch_norm: str = "folded by the runtime"
    runs_modules: bool = False
    times_layers: bool = True
    layers: bool = False

    def available(self) -> str | None:
        """It needs onnx, onnxscript and onnxruntime."""
        return onnx_missing()

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own."""
        return (dtype_name(dtype),)

    def preferred(self, dtype: torch.dtype) -> str:
        """The weights' own."""
        return dtype_name(dtype)

    def int8_missing(self) -> str | None:
        """The quantiser comes with it."""
        return self.available() or no_int8_instructions()

    def for_layers(self) -> OnnxRuntime:
        """By the older exporter, which takes a tenth of the time; one 4-dim tensor in and one out, as in a network."""
        return replace(self, layers=True)

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Export, compare, load.

        Raises:
            ModelRunError: the model can't be exported, or does not live on the CPU.
        """
        if device_of(model).type != "cpu":
            # Elsewhere copies from and to the host would be in the times, which PyTorch's are without.
            raise ModelRunError(
                f"ONNX Runtime is timed on the CPU, the model is on '{device_of(model)}'; use --device cpu."
            )
        exporter: Exporter = "TorchScript" if self.layers else "torch.export"
        network = between_layers(model, inputs) if self.layers else model
        graph = to_onnx(network, inputs, free=(), first=exporter)
        content = onnx_in_int8(graph.content, [inputs]) if precision == INT8 else graph.content
        session = session_for(content, threads=threads)
        feed = feed_for(session, inputs)
        return lambda: session.run(None, feed)
