"""PyTorch as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.machine import dtype_name

__all__ = ["Eager"]


@dataclass(frozen=True)
class Eager:
    """PyTorch, operator by operator."""

    name: str = "eager"
    width_multiple: int = 8
    batch_norm: str = "as in the model"
    runs_modules: bool = True
    times_layers: bool = True

    def available(self) -> str | None:
        """Always."""
        return None

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own."""
        return (dtype_name(dtype),)

    def preferred(self, dtype: torch.dtype) -> str:
        """The weights' own."""
        return dtype_name(dtype)

    def int8_missing(self) -> str | None:
        """It has no graph to quantise."""
        return "PyTorch's eager kernels have no int8; 'export --int8' to .pt2 times torchao's."

    def for_layers(self) -> Eager:
        """Itself."""
        return self

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """The model itself, run once; ``threads`` are torch's own setting.

        Raises:
            ModelRunError: the model fails on these inputs.
        """

        def run() -> object:
            with torch.inference_mode():
                return inputs.call(model)

        # What a library sets up on its first run is not this model's.
        run()
        return run
