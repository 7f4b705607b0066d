"""A unit that computes its convolution until it is fitted, wherever the network refers to it.

By its forward and not by its name: networks also call modules through plain lists and other names.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

__all__ = ["own_copy", "stand_down", "stand_in"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def stand_in(unit: nn.Module, conv: nn.Module) -> None:
    """Let the unit compute what the convolution does, until `stand_down`."""
    vars(unit)["forward"] = conv.forward


def stand_down(unit: nn.Module) -> None:
    """Let the unit compute with its own weights again."""
    vars(unit).pop("forward", None)


def own_copy(unit: ModuleT) -> ModuleT:
    """A deep copy that computes what the unit is, whoever stands in for the unit itself."""
    standing_in = vars(unit).pop("forward", None)
    try:
        return copy.deepcopy(unit)
    finally:
        if standing_in is not None:
            vars(unit)["forward"] = standing_in
