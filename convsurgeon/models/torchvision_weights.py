"""torchvision's weights enums: finding a member, what it asks of a model, and handing it a state dict."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torchvision.models import WeightsEnum, get_model_builder

from convsurgeon.base.errors import UnknownName, did_you_mean

__all__ = ["WeightsInHand", "find_weights", "needs"]


def find_weights(model: str, member: str) -> WeightsEnum:
    """The member of a registered model's float weights, by its name with or without the enum's.

    Raises:
        UnknownName: no such member; with near matches.
    """
    enum = _float_weights(model)
    known = enum.__members__
    wanted = member.removeprefix(f"{enum.__name__}.").upper()
    if wanted not in known:
        hint = did_you_mean(wanted, known) or f" Known: {', '.join(known)}."
        raise UnknownName(f"{model} has no weights {member!r}, and no such file exists.{hint}")
    found: WeightsEnum = known[wanted]
    return found


def needs(member: WeightsEnum) -> tuple[Any, ...]:
    """What weights ask of an architecture and of the input size."""
    crop = getattr(member.transforms(), "crop_size", None)
    return (member.meta.get("min_size"), tuple(crop or ()), len(member.meta.get("categories") or ()))


class WeightsInHand:
    """Stands in for a member of a weights enum, with a state dict that is already here.

    torchvision's builders read the architecture off the member and then ask it for its state dict, which it
    would unpickle from the network or the cache. This one answers like the member in everything else, so each
    builder does exactly what it does with the real one.
    """

    def __init__(self, member: WeightsEnum, state: Mapping[str, torch.Tensor]) -> None:
        self._member = member
        self._state = state

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # the builders check isinstance(weights, TheirEnum)
        return type(self._member)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._member, name)

    def __eq__(self, other: object) -> bool:
        return self._member is other

    def __hash__(self) -> int:
        return hash(self._member)

    def get_state_dict(self, **_: Any) -> Mapping[str, torch.Tensor]:
        """The state dict in hand; the builder's wishes for a progress bar and a hash check are moot."""
        # a copy, for builders rename keys in it; copy.copy keeps the layout versions that hang on it
        return copy.copy(self._state)


def _float_weights(model: str) -> type[WeightsEnum]:
    """The enum of the model's float weights; quantised builders name it after that of their int8 weights."""
    annotation = inspect.signature(get_model_builder(model)).parameters["weights"].annotation
    enums = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, WeightsEnum)]
    return enums[-1]
