"""Torch.export programs in int8, for the kernels that torchao has for x86 (oneDNN)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["pt2_int8_reader", "torchao_missing", "x86_quantiser"]


def torchao_missing() -> str | None:
    """Which package is missing, or what the kernels need; None if all is there."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this build of torch has no oneDNN, whose int8 kernels it would run in."
    return missing(("torchao",), "int8")


def x86_quantiser() -> Any:
    """Weights int8 for each channel, activations uint8 with a zero point."""
    with quiet():
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantiser = x86.X86InductorQuantizer()
        quantiser.set_global(x86.get_default_x86_inductor_quantization_config())
    return quantiser


def pt2_int8_reader(path: Path) -> Callable[[Inputs], list[Tensor]]:
    """Open a file of a quantised graph and run it in int8 kernels, which are set up once for each shape of inputs."""
    with quiet():
        from torchao.quantization.pt2e.inductor_passes.x86 import _register_quantization_weight_pack_pass
        from torchao.quantization.pt2e.lowering import lower_pt2e_quantized_to_x86

        _register_quantization_weight_pack_pass()
        # torch opens no path that is not UTF-8.
        with path.open("rb") as file:
            module: Any = torch.export.load(file).module()
    made: dict[tuple[tuple[int, ...], ...], Any] = {}

    def run(inputs: Inputs) -> list[Tensor]:
        with torch.no_grad():
            if inputs.shapes() not in made:
                with quiet():
                    made[inputs.shapes()] = lower_pt2e_quantized_to_x86(module, tuple(inputs.args))
            return as_tensors(inputs.call(made[inputs.shapes()]))

    return run
