"""The strict fit of a state dict into a model: every name, every shape, numbers that mean the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import INTERRUPTIONS, ModelLoadError, first_line
from convsurgeon.models.dtypes import compare_dtypes
from convsurgeon.models.state_dict import layout_versions, with_versions

__all__ = ["Misfit", "load_strictly"]

_SHOWN_KEYS = 3


class Misfit(ModelLoadError):
    """Names or shapes that are not the model's; a source may know how to translate them."""


def load_strictly(model: nn.Module, state: Mapping[str, torch.Tensor], source: str, target: str) -> tuple[str, ...]:
    """Load ``state`` into ``model``; every key and every shape must fit. Returns what is worth knowing of the numbers.

    The model's content is undefined after a refusal.

    Raises:
        Misfit: keys missing, unexpected or of another shape: how many, and the first few.
        ModelLoadError: weights that are not numbers, or infinite, or of a dtype that means something else.
    """
    own = model.state_dict()
    notes = compare_dtypes(own, state, source)
    _require_finite(state, {name for name, _ in model.named_parameters(remove_duplicate=False)}, source)
    own_shapes = {key: tensor.shape for key, tensor in own.items() if isinstance(tensor, torch.Tensor)}
    misshaped = [
        f"{key} {list(state[key].shape)} in the file, {list(shape)} in the model"
        for key, shape in own_shapes.items()
        if key in state and state[key].shape != shape
    ]
    fitting = OrderedDict(
        (key, tensor) for key, tensor in state.items() if own_shapes.get(key, tensor.shape) == tensor.shape
    )
    fitting = with_versions(fitting, layout_versions(state) or _current_versions(own, state))
    try:
        report = model.load_state_dict(fitting, strict=False)
    except INTERRUPTIONS:
        raise
    except BaseException as error:  # modules may load their state with code of their own
        raise Misfit(f"{source} can't be loaded into {target}: {first_line(error)}.") from error
    missing = [key for key in report.missing_keys if key not in state]
    problems = [
        _count_and_show(missing, "missing in the file"),
        _count_and_show(report.unexpected_keys, "unknown to the model"),
        _count_and_show(misshaped, "of another shape"),
    ]
    if any(problems):
        raise Misfit(
            f"{source} does not fit {target}: {'; '.join(filter(None, problems))}. Pass weights saved from "
            "this architecture, or a factory that builds theirs (path/file.py:factory)."
        )
    return notes


def _require_finite(state: Mapping[str, torch.Tensor], parameters: Collection[str], source: str) -> None:
    """Refuse trained numbers that are none; buffers may be infinite on purpose (attention masks)."""
    broken = [
        name
        for name, tensor in state.items()
        if name in parameters and tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if broken:
        raise ModelLoadError(
            f"{source} holds weights that are not finite (NaN or infinity): {_count_and_show(broken, 'tensors')}. "
            "Nothing sensible can be computed with them; take weights of an earlier step."
        )


def _current_versions(own: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own versions; but batch norms saved before they counted batches stay of an unknown one."""
    counter = "num_batches_tracked"
    return {
        module: version
        for module, version in (layout_versions(own) or {}).items()
        if f"{module}.{counter}" not in own or f"{module}.{counter}" in state
    }


def _count_and_show(items: list[str], what: str) -> str:
    if not items:
        return ""
    more = ", …" if len(items) > _SHOWN_KEYS else ""
    return f"{len(items)} {what} ({', '.join(items[:_SHOWN_KEYS])}{more})"
