"""OpenVINO on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.between_layers import between_layers
from convsurgeon.runtimes.int8_processor import INT8, no_int8_instructions
from convsurgeon.runtimes.machine import device_of, dtype_name
from convsurgeon.runtimes.openvino_conversion import compiled_for, to_openvino
from convsurgeon.runtimes.openvino_int8 import nncf_missing, quantised_openvino
from convsurgeon.runtimes.openvino_package import openvino_core, openvino_missing

__all__ = ["OpenVino"]


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO on the CPU, tuned for latency; in bfloat16 too where the processor has it, as OpenVINO prefers."""

    name: str = "openvino"
    width_multiple: int = 8
    batch_norm: str = "folded by the runtime"
    runs_modules: bool = False
    times_layers: bool = True
    layers: bool = False

    def available(self) -> str | None:
        """It needs openvino."""
        return openvino_missing()

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own, and bfloat16 where the processor calculates in it."""
        capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        own = dtype_name(dtype)
        return (own, "bfloat16") if own == "float32" and "BF16" in capabilities else (own,)

    def preferred(self, dtype: torch.dtype) -> str:
        """bfloat16 where the processor has it, which is what a network gets that is loaded without a hint."""
        return self.precisions(dtype)[-1]

    def int8_missing(self) -> str | None:
        """It takes NNCF to quantise."""
        return self.available() or nncf_missing() or no_int8_instructions()

    def for_layers(self) -> OpenVino:
        """One 4-dim tensor in and one out, as in a network."""
        return replace(self, layers=True)

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Convert, compare in float32, compile for the inputs' shapes.

        Raises:
            ModelRunError: the model can't be converted, or does not live on the CPU.
        """
        if device_of(model).type != "cpu":
            raise ModelRunError(
                f"OpenVINO runs on the CPU here, the model is on '{device_of(model)}'; use --device cpu."
            )
        network = _layer(model, inputs) if self.layers else model
        converted = to_openvino(network, inputs, free=())
        if precision == INT8:
            # What is not quantised calculates in float32, as in the file that it is compared with.
            quantised = quantised_openvino(converted.model, [inputs], in_float=())
            compiled = compiled_for(quantised, precision="float32", threads=threads)
        else:
            compiled = compiled_for(converted.model, precision=precision, threads=threads)
        request = compiled.create_infer_request()
        feed = [tensor.detach().cpu().numpy() for tensor in inputs.tensors()]
        return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def _layer(model: nn.Module, inputs: Inputs) -> nn.Module:
    """As it stands in a network; traced here by one run, where the converter takes three."""
    copy = duplicate(model).eval()
    alone = between_layers(copy, inputs)
    if alone is copy:
        return model
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(alone, tuple(inputs.args), check_trace=False)  # type: ignore[no-untyped-call]
            return cast(nn.Module, traced)
    # Any code may stand in a layer.
    except Exception as error:
        raise ModelRunError(f"the layer can't be traced for OpenVINO: {first_line(error)}.") from error
