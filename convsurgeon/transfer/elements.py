"""What of a calibration element the model takes: all of it, or the one part that is like the example inputs.

Loaders that were made for training yield images with labels, as pairs or dicts; the labels are of no use here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs, as_inputs

__all__ = ["Elements"]


@dataclass(frozen=True)
class Elements:
    """Reads elements for a model that is called with ``example``; None takes every element as it is."""

    example: Inputs | None = None

    def read(self, element: Any) -> Inputs:
        """The model's inputs.

        Raises:
            UsageError: nothing that a model is called with, or several parts that could be its input.
        """
        parts = self._parts_like_the_example(element)
        return _whole(element, self.example) if parts is None else _only(element, parts)

    def left_out(self, element: Any) -> str | None:
        """A note where only a part of the element is taken."""
        parts = self._parts_like_the_example(element)
        if parts is None or len(element) == 1:
            return None
        _only(element, parts)
        return f"of each calibration batch ({_described(element)}) only {next(iter(parts))} was taken"

    def _parts_like_the_example(self, element: Any) -> dict[str, Inputs] | None:
        """The parts, named by where they stand; None where the whole element is to be taken."""
        if self.example is None or isinstance(element, Inputs) or not isinstance(element, (list, tuple, Mapping)):
            return None
        if _alike(_whole(element, self.example), self.example):
            return None
        parts = ((name, inputs) for name, part in _parts(element) for inputs in _readings(part))
        return {name: inputs for name, inputs in parts if _alike(inputs, self.example)} or None


def _whole(element: Any, example: Inputs | None) -> Inputs:
    """The whole element as inputs; loaders turn tuples of arguments into lists."""
    if isinstance(element, list) and example is not None:
        arguments = Inputs(args=tuple(element))
        if _alike(arguments, example):
            return arguments
    return as_inputs(element)


def _only(element: Any, parts: Mapping[str, Inputs]) -> Inputs:
    if len(parts) == 1:
        return next(iter(parts.values()))
    raise UsageError(
        f"in a calibration batch ({_described(element)}) {' and '.join(parts)} could each be the model's input; yield "
        "that one alone."
    )


def _parts(element: Any) -> Iterator[tuple[str, Any]]:
    """What stands in the element, with words for where."""
    if isinstance(element, Mapping):
        yield from ((f"'{key}'", value) for key, value in element.items())
    else:
        yield from ((f"part {number}", value) for number, value in enumerate(element, 1))


def _readings(part: Any) -> Iterator[Inputs]:
    """The ways to read a part as inputs; a tuple may also be a list of images, which loaders collate so."""
    if isinstance(part, (Tensor, list, tuple, Mapping)):
        yield as_inputs(part)
    if isinstance(part, tuple):
        yield Inputs(args=(list(part),))


def _alike(inputs: Inputs, example: Inputs) -> bool:
    """Whether the arguments are the same, and the tensors could take each other's place."""
    same = len(inputs.args) == len(example.args) and inputs.kwargs.keys() == example.kwargs.keys()
    return (
        same
        and all(_fits(one, other) for one, other in zip(inputs.args, example.args, strict=True))
        and all(_fits(inputs.kwargs[key], other) for key, other in example.kwargs.items())
    )


def _fits(value: Any, example: Any) -> bool:
    """Whether tensors have as many axes and channels, and both are floating or not; lists may have any length."""
    if isinstance(example, Tensor):
        return (
            isinstance(value, Tensor)
            and value.dim() == example.dim()
            and value.is_floating_point() == example.is_floating_point()
            and _channels(value) == _channels(example)
        )
    if isinstance(example, list) and example:
        return isinstance(value, list) and bool(value) and all(_fits(item, example[0]) for item in value)
    return not isinstance(value, Tensor)


def _channels(tensor: Tensor) -> int | None:
    """The channels of [N, C, H, W] and larger; fewer axes may be a batch of signals or an image in a list: None."""
    return tensor.shape[1] if tensor.dim() > 3 else None


def _described(element: Any) -> str:
    return ", ".join(f"{name}: {_shapes(part)}" for name, part in _parts(element))


def _shapes(part: Any) -> str:
    tensors = [str(list(leaf.shape)) for leaf in tree_leaves(part) if isinstance(leaf, Tensor)]
    return ", ".join(tensors[:3]) + (", …" if len(tensors) > 3 else "") or f"({type(part).__name__})"
