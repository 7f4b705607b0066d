"""What a network's tensors are called in a file: the arguments of its forward, the keys of what it returns."""

from __future__ import annotations

import inspect
from dataclasses import astuple
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten_with_path

from convsurgeon.base.inputs import Inputs

__all__ = ["input_names", "output_names"]


def input_names(model: nn.Module, inputs: Inputs) -> list[str]:
    """One for each tensor, in order: ``image``, or ``images_0`` inside of a list."""
    given = inspect.signature(model.forward).bind_partial(*inputs.args).arguments
    return [name for argument, value in {**given, **inputs.kwargs}.items() for name in _named(argument, value)]


def output_names(model: nn.Module, inputs: Inputs) -> list[str]:
    """One for each tensor, in order: ``out`` by its key, ``output_0`` by its place, ``output`` for the only one."""
    taken = input_names(model, inputs)
    names = [name.removeprefix("output_") for name in _named("output", inputs.call(model))]
    names = [name if name.isidentifier() else f"output_{name}" for name in names]
    return [f"{name}_output" if name in taken else name for name in names]


def _named(first: str, value: Any) -> list[str]:
    return ["_".join((first, *map(_word, path))) for path, leaf in _leaves(value) if isinstance(leaf, torch.Tensor)]


def _leaves(value: Any) -> Any:
    return tree_flatten_with_path(value)[0]


def _word(key: Any) -> str:
    """A step of a path: a mapping's key, a place in a list, an attribute."""
    return str(astuple(key)[0])
