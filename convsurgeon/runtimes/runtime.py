"""What every runtime has in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs

__all__ = ["Runtime", "missing"]


class Runtime(Protocol):
    """Something that runs a network: ``prepare`` loads it once, and what it returns runs one forward."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def times_layers(self) -> bool:
        """Whether a layer alone takes the time that it takes inside a network."""
        ...

    @property
    def runs_modules(self) -> bool:
        """Whether it runs torch's modules as they are: memory formats, and writing over tensors, count there."""
        ...

    @property
    def width_multiple(self) -> int:
        """What narrowed streams keep multiples of, where the recipe does not say."""
        ...

    @property
    def batch_norm(self) -> str:
        """What becomes of batch norm behind a convolution, in words."""
        ...

    def available(self) -> str | None:
        """Why this runtime can't be used here, with what to install; None if it can."""
        ...

    def precisions(self, dtype: torch.dtype) -> tuple[str, ...]:
        """The number formats it can calculate in for weights of ``dtype``, the weights' own first."""
        ...

    def preferred(self, dtype: torch.dtype) -> str:
        """The one of them that it takes by itself; forms and plans are timed in it."""
        ...

    def int8_missing(self) -> str | None:
        """Why it can't calculate in int8 here; None if ``prepare`` takes that precision, too."""
        ...

    def for_layers(self) -> Runtime:
        """The same runtime, set up to prepare many single layers quickly, each as it runs inside a network."""
        ...

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """Load the model (untouched, eval mode) and return what runs it once on the inputs.

        In ``int8`` the inputs are what ranges are measured on: enough to time, not to judge outputs.

        Raises:
            ModelRunError: the model can't be brought into this runtime, or computes something else there.
        """
        ...


def missing(packages: Iterable[str], extra: str) -> str | None:
    """Say which packages are not installed and which extra brings them; None if all are."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    return f"{', '.join(absent)} {verb} not installed; pip install convsurgeon[{extra}]."
