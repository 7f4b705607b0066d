"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from convsurgeon.errors import ModelRunError
from convsurgeon.inputs import Inputs
from convsurgeon.runtimes.openvino_conversion import compiled_for, to_openvino
from convsurgeon.runtimes.openvino_package import openvino_core, openvino_missing
from convsurgeon.timing.machine import device_of, dtype_name

__all__ = ["OpenVino"]


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO on the CPU, tuned for latency; in bfloat16 too where the processor has it, as OpenVINO prefers."""

    name: str = "openvino"
    batch_norm: str = "folded by the runtime"
    times_layers: bool = True

    def available(self) -> str | None:
        """It needs openvino."""
        return openvino_missing()

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own, and bfloat16 where the processor calculates in it."""
        capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        own = dtype_name(dtype)
        return (own, "bfloat16") if own == "float32" and "BF16" in capabilities else (own,)

    def for_layers(self) -> OpenVino:
        """Itself."""
        return self

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Convert, compare in float32, compile for the inputs' shapes.

        Raises:
            ModelRunError: the model can't be converted, or does not live on the CPU.
        """
        if device_of(model).type != "cpu":
            raise ModelRunError(
                f"OpenVINO runs on the CPU here, the model is on '{device_of(model)}'; use --device cpu."
            )
        converted = to_openvino(model, inputs, dynamic_batch=False)
        compiled = compiled_for(converted.model, precision=precision, threads=threads)
        request = compiled.create_infer_request()
        feed = [tensor.detach().cpu().numpy() for tensor in inputs.tensors()]
        return lambda: request.infer(feed, share_inputs=True, share_outputs=True)
