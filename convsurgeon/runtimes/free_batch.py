"""The batch axis as torch.export's exporters want it named."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

from convsurgeon.base.batch_axis import batch_of
from convsurgeon.base.inputs import Inputs

__all__ = ["free_axes"]


def free_axes(inputs: Inputs) -> tuple[Any, ...]:
    """A free batch axis of every tensor that has one, in the shape of the arguments."""
    batch, size = torch.export.Dim("batch", min=1), batch_of(inputs)

    def axes(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == size:
            return {0: batch}
        return None

    positional = tree_map(axes, tuple(inputs.args))
    # Keyword arguments follow the positional ones by name.
    return (*positional, *(tree_map(axes, value) for value in inputs.kwargs.values()))
