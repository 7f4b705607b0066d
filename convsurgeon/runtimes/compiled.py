"""``torch.compile`` with its default backend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from convsurgeon.counting import duplicate
from convsurgeon.errors import ModelRunError, first_line
from convsurgeon.inputs import Inputs
from convsurgeon.timing.machine import dtype_name

__all__ = ["Compiled"]

_COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True)
class Compiled:
    """``torch.compile``: the first run compiles, which takes from seconds to minutes."""

    name: str = "compile"
    batch_norm: str = "fused with its neighbours, not folded"
    # Alone a layer is not what the whole network, fused, runs.
    times_layers: bool = False

    def available(self) -> str | None:
        """On a CPU it writes C++ and needs a compiler."""
        if any(shutil.which(command) for command in (os.environ.get("CXX", ""), *_COMPILERS) if command):
            return None
        return f"torch.compile needs a C++ compiler and found none of {', '.join(_COMPILERS)}; install one, or set CXX."

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The weights' own."""
        return (dtype_name(dtype),)

    def preferred(self, dtype: torch.dtype) -> str:
        """The weights' own."""
        return dtype_name(dtype)

    def for_layers(self) -> Compiled:
        """Itself."""
        return self

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Compile a copy by running it once.

        Raises:
            ModelRunError: the model can't be compiled.
        """
        compiled = cast(nn.Module, torch.compile(duplicate(model).eval()))

        def run() -> object:
            with torch.no_grad():
                return inputs.call(compiled)

        try:
            run()
        except Exception as error:
            raise ModelRunError(f"torch.compile can't compile the model: {first_line(error)}.") from error
        return run
