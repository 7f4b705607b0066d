"""Free axes as torch.export's exporters want them: in the shape of the arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_map

from convsurgeon.base.free_axes import AXES, Axis, FreeAxes, axes_of
from convsurgeon.base.inputs import Inputs

__all__ = ["BY_DIM", "BY_NAME", "export_axes"]

# ONNX writes names into the graph.
BY_NAME: Mapping[Axis, Any] = {axis: axis for axis in AXES}
# Of a height or width the program itself says from where on, and in which steps, it takes any.
BY_DIM: Mapping[Axis, Any] = {
    "batch": torch.export.Dim("batch", min=1),
    "height": torch.export.Dim.DYNAMIC,
    "width": torch.export.Dim.DYNAMIC,
}


def export_axes(inputs: Inputs, free: FreeAxes, marks: Mapping[Axis, Any]) -> tuple[Any, ...] | None:
    """What stands for each free axis of each tensor; None without any."""
    if not free:
        return None
    find = axes_of(inputs, free)

    def axes(value: Any) -> Any:
        found = find(value) if isinstance(value, torch.Tensor) else {}
        return {place: marks[axis] for place, axis in found.items()} or None

    positional = tree_map(axes, tuple(inputs.args))
    # Keyword arguments follow the positional ones by name.
    return (*positional, *(tree_map(axes, value) for value in inputs.kwargs.values()))
