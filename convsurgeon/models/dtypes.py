"""Dtypes of saved tensors beside the model's: which ones a copy keeps the meaning of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from convsurgeon.base.errors import ModelLoadError

__all__ = ["compare_dtypes"]

_SHOWN = 3


def compare_dtypes(own: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """How many tensors change their floating-point type when they are copied into the model's ``own``.

    Raises:
        ModelLoadError: a dtype that means something else there, such as int8 where the model has float32.
    """
    pairs = [(name, state[name], mine) for name, mine in own.items() if isinstance(mine, Tensor) and name in state]
    broken = [
        f"{name} is {_name(saved)} in the file, {_name(mine)} in the model"
        for name, saved, mine in pairs
        if not _keeps_meaning(saved, mine)
    ]
    if broken:
        more = f", and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise ModelLoadError(
            f"{source} holds numbers that mean something else: {'; '.join(broken[:_SHOWN])}{more}. Quantised weights "
            "are no weights without their scales; pass those of the float network."
        )
    changes = Counter(
        (_name(saved), _name(mine))
        for _, saved, mine in pairs
        if mine.is_floating_point() and saved.dtype != mine.dtype
    )
    return tuple(
        f"{count} tensors are {saved} in the file and {mine} in the model" for (saved, mine), count in changes.items()
    )


def _keeps_meaning(saved: Tensor, mine: Tensor) -> bool:
    if saved.dtype == mine.dtype:
        return True
    if _kind(saved.dtype) == "float" and _kind(mine.dtype) == "integer":
        # Whole state dicts are cast to half precision with their counters.
        return bool((saved == saved.round()).all()) and bool(saved.isfinite().all())
    return _kind(saved.dtype) == _kind(mine.dtype) is not None


def _kind(dtype: torch.dtype) -> str | None:
    """What numbers of a dtype stand for; None where that takes more than themselves (float8, quantised, bool)."""
    if dtype.is_complex:
        return "complex"
    if dtype.is_floating_point:
        return "float" if dtype.itemsize > 1 else None
    return "integer" if dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64) else None


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
