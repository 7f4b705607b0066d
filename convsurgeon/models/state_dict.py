"""A state dict: tensors by name and, hanging on it, the layout version of each module; renamed together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["StateDict", "below", "layout_versions", "renamed", "with_versions"]

StateDict = OrderedDict[str, torch.Tensor]


def layout_versions(state: Mapping[str, Any]) -> Any:
    """The layout version of each module, which torch keeps beside a state dict and safetensors does not."""
    return getattr(state, "_metadata", None)


def with_versions(tensors: Mapping[str, torch.Tensor], versions: Any) -> StateDict:
    """A state dict of these tensors and versions; None leaves the versions unknown."""
    state: StateDict = OrderedDict(tensors)
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    return state


def renamed(state: Mapping[str, torch.Tensor], rename: Callable[[str], str | None]) -> StateDict:
    """The state under other names; None leaves a name out. Modules are renamed as ``module.`` is."""
    tensors = ((rename(name), tensor) for name, tensor in state.items())
    found = layout_versions(state)
    # a module is renamed by the prefix of its tensors; the root's is empty
    modules = ((rename(f"{module}." if module else ""), version) for module, version in (found or {}).items())
    versions = OrderedDict((name.removesuffix("."), version) for name, version in modules if name is not None)
    return with_versions(
        OrderedDict((name, tensor) for name, tensor in tensors if name is not None), None if found is None else versions
    )


def below(state: Mapping[str, torch.Tensor], prefix: str) -> StateDict:
    """The entries whose names begin with ``prefix``, without it."""
    return renamed(state, lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None)
