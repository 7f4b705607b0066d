"""Devices by name, and what must be there to run on one."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.base.errors import ModelLoadError, UsageError, first_line

__all__ = ["best_device", "require_weights", "usable_device"]


def usable_device(device: str | torch.device) -> torch.device:
    """A device that takes tensors, in float64 too, in which fits and comparisons calculate (Apple's MPS has none).

    Raises:
        UsageError: an unknown device, one that is not there, or one without float64.
    """
    try:
        target = torch.device(device)
        torch.empty(0, dtype=torch.float64, device=target)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise UsageError(f"the device {str(device)!r} can't be used: {first_line(error)}.") from error
    return target


def best_device() -> torch.device:
    """The accelerator that is here, where it can be used; otherwise the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        return torch.device("cpu") if found is None else usable_device(found)
    except UsageError:
        return torch.device("cpu")


def require_weights(model: nn.Module, purpose: str) -> None:
    """Refuse a model whose weights have no values.

    Raises:
        ModelLoadError: it is on the meta device, where nothing can be ``purpose`` (timed, lowered, trained).
    """
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelLoadError(f"the model is on the meta device, where nothing can be {purpose}; give it weights first.")
