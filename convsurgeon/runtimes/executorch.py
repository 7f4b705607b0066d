"""A torch.export program as an ExecuTorch program (.pte) for XNNPACK, and such a file in ExecuTorch's own runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["executorch_missing", "executorch_reader", "write_executorch", "xnnpack_quantiser"]


def executorch_missing() -> str | None:
    """Which package is missing; None if it is there."""
    return missing(("executorch",), "executorch")


def write_executorch(program: torch.export.ExportedProgram, path: Path) -> None:
    """Hand to XNNPACK what it takes, and write the whole; what it does not take runs in portable kernels.

    Raises:
        ModelRunError: ExecuTorch can't take the program.
    """
    try:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            content = lowered.to_executorch().buffer
    # It raises whatever its passes do.
    except Exception as error:
        raise ModelRunError(f"ExecuTorch can't take the model: {first_line(error)}.") from error
    path.write_bytes(content)


def executorch_reader(path: Path) -> Callable[[Inputs], list[Tensor]]:
    """Open a file and run it on the CPU."""
    with quiet():
        from executorch.runtime import Runtime

        # Registers the kernels that quantise what XNNPACK leaves.
        import_module("executorch.kernels.quantized")
    method: Any = Runtime.get().load_program(path).load_method("forward")

    def run(inputs: Inputs) -> list[Tensor]:
        outputs = method.execute([tensor.detach().cpu().contiguous() for tensor in inputs.tensors()])
        # The next run writes over its outputs.
        return [tensor.clone() for tensor in as_tensors(outputs)]

    return run


def xnnpack_quantiser() -> Any:
    """Weights int8 for each channel, activations int8 with a zero point."""
    with quiet():
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

        quantiser = xnnpack.XNNPACKQuantizer()
        quantiser.set_global(xnnpack.get_symmetric_quantization_config(is_per_channel=True))
    return quantiser
