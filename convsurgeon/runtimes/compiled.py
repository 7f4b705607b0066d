"""``torch.compile`` with its default backend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.machine import dtype_name

__all__ = ["Compiled"]

_COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True)
class Compiled:
    """``torch.compile``: the first run compiles, which takes from seconds to minutes."""

    name: str = "compile"
    width_multiple: int = 8
    batch_norm: str = "fused with its neighbours, not folded"
    # Alone a layer is not what the whole network, fused, runs.
    runs_modules: bool = False
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

    def int8_missing(self) -> str | None:
        """What it compiles has to be quantised before."""
        return "torch.compile quantises nothing; 'export --int8' to .pt2 times torchao's kernels."

    def for_layers(self) -> Compiled:
        """Itself."""
        return self

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Compile a copy by running it once.

        Raises:
            ModelRunError: the model can't be compiled.
        """
        compiled = torch.compile(_with_code_of_its_own(duplicate(model).eval()), dynamic=False)

        def run() -> object:
            with torch.no_grad():
                return inputs.call(compiled)

        try:
            run()
        except Exception as error:
            raise ModelRunError(f"torch.compile can't compile the model: {first_line(error)}.") from error
        return run


def _with_code_of_its_own(model: nn.Module) -> Callable[..., object]:
    """The model's call as a function that shares its code with no other.

    ``torch.compile`` keeps what it made with the code of a forward, eight times at most. All networks of one class, or
    in one form, share that code, and from the ninth on would run uncompiled without a word. (What stands behind a
    graph break inside the network is still kept with its own class.)
    """

    def call(*args: object, **kwargs: object) -> object:
        return model(*args, **kwargs)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
