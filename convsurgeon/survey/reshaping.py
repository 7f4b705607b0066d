"""Rules for operations that move, merge, split or ask for axes: where the channels stand afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convsurgeon.survey.channels import Dim, NotUnderstood, Outside, Shape, Value
from convsurgeon.survey.channelwise import elementwise, leaves, refuse_counts

__all__ = [
    "attribute",
    "expanded",
    "flattened",
    "indexed",
    "permuted",
    "reshaped",
    "size",
    "squeezed",
    "transposed",
    "unsqueezed",
]


def flattened(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from ``start_dim`` to ``end_dim`` become one."""
    if not isinstance(x, Value):
        return x
    start, end = (dim % x.rank for dim in (start_dim, end_dim))
    if start > x.axis:
        return replace(x, rank=x.rank - (end - start))
    if start < x.axis or start == 0:
        raise NotUnderstood("it is flattened together with an axis before its channels")
    if end == start:
        return x
    span = x.span if x.single else None
    return replace(x, rank=x.rank - (end - start), span=span, single=end == x.rank - 1)


def permuted(x: Any, *dims: Any) -> Any:
    """The axes in another order; the batch stays in front."""
    order = leaves(dims)
    if not isinstance(x, Value):
        return x
    if not all(isinstance(one, int) for one in order) or len(order) != x.rank:
        raise NotUnderstood("its axes are moved in a way that can't be followed")
    places = [one % x.rank for one in order]
    if places[0] != 0:
        raise NotUnderstood("its batch axis is moved")
    return replace(x, axis=places.index(x.axis))


def transposed(x: Any, dim0: int, dim1: int) -> Any:
    """Two axes change places."""
    if not isinstance(x, Value):
        return x
    order = list(range(x.rank))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permuted(x, order)


def unsqueezed(x: Any, dim: int) -> Any:
    """One more axis, of one entry."""
    if not isinstance(x, Value):
        return x
    place = dim % (x.rank + 1)
    if place == 0:
        raise NotUnderstood("its batch axis is moved")
    return replace(x, rank=x.rank + 1, axis=x.axis + (place <= x.axis))


def squeezed(x: Any, dim: Any = None) -> Any:
    """Without axes of one entry."""
    if not isinstance(x, Value):
        return x
    gone = {one % x.rank for one in leaves(dim) if isinstance(one, int)}
    if not gone or gone & {0, x.axis} or not x.single:
        raise NotUnderstood("axes that may have more than one entry are squeezed out of it")
    return replace(x, rank=x.rank - len(gone), axis=x.axis - sum(one < x.axis for one in gone))


def reshaped(x: Any, *shape: Any) -> Any:
    """``view(batch, -1)`` flattens; ``view(batch, channels, …)`` leaves the channels where they are."""
    if not isinstance(x, Value):
        return x
    sizes = leaves(shape)
    if x.axis == 1 and len(sizes) > 1 and isinstance(sizes[1], int) and sizes[1] != -1:
        raise NotUnderstood("it is reshaped to a fixed number of channels")
    if x.axis != 1 or len(sizes) < 2 or not isinstance(sizes[0], Dim) or sizes[0].axis != 0:
        raise NotUnderstood("it is reshaped in a way that can't be followed")
    if len(sizes) == 2 and sizes[1] == -1:
        return flattened(x, 1)
    if not _counts_channels(sizes[1], x):
        raise NotUnderstood("it is reshaped to a fixed number of channels")
    refuse_counts(sizes[2:])
    if len(sizes) == 2:
        return flattened(x, 1) if x.single else replace(x, rank=2, single=True)
    return replace(x, rank=len(sizes), span=1, single=x.single and x.span == 1)


def expanded(x: Any, *shape: Any) -> Any:
    """More entries along axes that have one; the number of channels has to stay."""
    sizes = leaves(shape)
    if not isinstance(x, Value):
        return elementwise(x, *(one for one in sizes if not isinstance(one, Shape)))
    if len(sizes) != x.rank or not (sizes[x.axis] == -1 or _counts_channels(sizes[x.axis], x)):
        raise NotUnderstood("it is expanded to a fixed number of channels")
    return replace(x, single=False)


def indexed(x: Any, index: Any) -> Any:
    """A size out of a shape, or a part of a map with all of its channels."""
    if isinstance(x, Shape):
        return _sized(x, index)
    if not isinstance(x, Value):
        return x
    axis, rank, old = x.axis, x.rank, 0
    for new, one in enumerate(index if isinstance(index, tuple) else (index,)):
        if one is None and new > 0:
            rank += 1
            axis += new <= axis
            continue
        if not isinstance(one, slice) or (old in (0, x.axis) and one != slice(None)):
            raise NotUnderstood("some of its channels are picked or split off")
        old += 1
    return replace(x, axis=axis, rank=rank)


def _sized(shape: Shape, index: Any) -> Any:
    """What an index picks from a shape; None for a number that follows from no channel."""
    if shape.axes is None:
        return Dim(shape.value, index) if isinstance(index, int) else None
    picked = shape.axes[index]
    return Dim(shape.value, picked) if isinstance(picked, int) else Shape(shape.value, picked)


def size(x: Any, dim: Any = None) -> Any:
    """The shape, or one size of it."""
    if not isinstance(x, Value | Outside):
        return None
    whole = Shape(x, tuple(range(x.rank)) if isinstance(x, Value) else None)
    return whole if dim is None else _sized(whole, dim)


def attribute(x: Any, name: str) -> Any:
    """What ``getattr`` finds."""
    if name == "shape":
        return size(x)
    if name in ("dtype", "device", "ndim", "is_cuda", "requires_grad"):
        return None
    raise NotUnderstood(f"the forward asks for its '{name}'")


def _counts_channels(size: Any, x: Value) -> bool:
    """Whether a size is the number of channels of ``x``, as the forward reads it at run time."""
    counted = size.counted() if isinstance(size, Dim) else None
    return counted is not None and counted.span == 1 and counted.channels_of(x)
