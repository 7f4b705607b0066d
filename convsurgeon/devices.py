"""Devices by name."""

from __future__ import annotations

import torch

from convsurgeon.errors import UsageError, first_line

__all__ = ["usable_device"]


def usable_device(device: str | torch.device) -> torch.device:
    """A device that takes tensors.

    Raises:
        UsageError: an unknown device, or one that is not there.
    """
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {str(device)!r} can't be used: {first_line(error)}.") from error
    return target
