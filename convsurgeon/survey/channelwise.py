"""Rules for operations that treat channels one by one, or join them: what they give, from what they read.

Values are as `convsurgeon.survey.channels` describes them, numbers that follow from no channel are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from convsurgeon.survey.channels import Dim, NotUnderstood, Outside, Shape, Value, join

__all__ = [
    "adaptive",
    "concatenated",
    "elementwise",
    "leaves",
    "padded",
    "pooled",
    "reduced",
    "refuse_counts",
    "told",
    "unchanged",
]


def leaves(arguments: Any) -> list[Any]:
    """The arguments, out of their lists and dicts."""
    if isinstance(arguments, list | tuple):
        return [leaf for argument in arguments for leaf in leaves(argument)]
    if isinstance(arguments, dict):
        return leaves(list(arguments.values()))
    if isinstance(arguments, slice):
        return leaves([arguments.start, arguments.stop, arguments.step])
    return [arguments]


def elementwise(*args: Any, **kwargs: Any) -> Any:
    """Each entry of the result follows from the entries at its place."""
    given = leaves([args, kwargs])
    refuse_counts(given)
    values = [one for one in given if isinstance(one, Value)]
    outside = [one for one in given if isinstance(one, Outside)]
    if values:
        return join(values, outside)
    return outside[0] if outside else None


def pooled(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Each channel's map becomes another map, by a rule that is the same for all channels."""
    refuse_counts(leaves([args, kwargs]))
    if any(isinstance(one, Value | Outside) for one in leaves([args, kwargs])) or kwargs.get("return_indices"):
        raise NotUnderstood("it is pooled with more than a map of its own")
    if not isinstance(x, Value):
        return x
    if x.axis != 1 or x.rank < 3 or x.span != 1:
        raise NotUnderstood("it is pooled over its channels")
    return replace(x, single=False)


def adaptive(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `pooled`, to a map of a given size."""
    found = pooled(x, output_size, return_indices=return_indices)
    single = all(size == 1 for size in leaves(output_size))
    return replace(found, single=single) if isinstance(found, Value) else found


def padded(x: Any, pad: Sequence[Any], mode: str = "constant", value: Any = None) -> Any:
    """More positions around a map."""
    if isinstance(x, Value) and x.axis >= x.rank - len(pad) // 2:
        raise NotUnderstood("channels are padded to it")
    return pooled(x, pad, mode, value)


def reduced(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Mean, sum and the like over some axes."""
    if not isinstance(x, Value):
        return x
    if dim is None or not all(isinstance(one, int) for one in leaves(dim)):
        raise NotUnderstood("it is reduced over all of its axes")
    gone = {one % x.rank for one in leaves(dim)}
    if gone & {0, x.axis}:
        raise NotUnderstood("it is reduced over its channels or over the batch")
    single = len(gone) == x.rank - 2 or x.single
    if keepdim:
        return replace(x, single=single)
    return replace(x, rank=x.rank - len(gone), axis=x.axis - sum(one < x.axis for one in gone), single=single)


def concatenated(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Channels one behind the other; over positions they are tied."""
    if not isinstance(tensors, list | tuple):
        raise NotUnderstood("it is in a list that can't be followed")
    values = [one for one in tensors if isinstance(one, Value)]
    if not values:
        return next((one for one in tensors if isinstance(one, Outside)), None)
    first = values[0]
    if dim % first.rank == 0:
        raise NotUnderstood("it is concatenated over the batch")
    if dim % first.rank != first.axis:
        return elementwise(*tensors)
    if any((one.rank, one.axis, one.span) != (first.rank, first.axis, 1) for one in values):
        raise NotUnderstood("it is concatenated with values of other axes")
    pieces = [one.pieces if isinstance(one, Value) else (Outside("a value that is no tensor"),) for one in tensors]
    pieces = [(one,) if isinstance(one, Outside) else mine for one, mine in zip(tensors, pieces, strict=True)]
    single = len(values) == len(tensors) and all(one.single for one in values)
    return replace(first, pieces=tuple(piece for mine in pieces for piece in mine), single=single)


def unchanged(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Another dtype, device, memory layout, or a copy."""
    return x


def told(*args: Any, **kwargs: Any) -> None:
    """A check of the forward's, or a number that does not depend on any channel."""
    refuse_counts(leaves([args, kwargs]))
    if any(isinstance(one, Value | Outside) for one in leaves([args, kwargs])):
        raise NotUnderstood("a check of the forward reads it")


def refuse_counts(given: Sequence[Any]) -> None:
    """A number of channels that the forward computes with can't change.

    Raises:
        NotUnderstood: there is one.
    """
    if any(isinstance(one, Shape | Dim) and one.counted() is not None for one in given):
        raise NotUnderstood("the forward computes with its number of channels")
