"""What functions and methods do to the channels of the tensors they read: one rule each.

A rule gets its arguments as `convsurgeon.survey.channels` describes them, plain numbers as they are, and gives back
what describes its result. A `NotUnderstood` closes all streams it reads.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from convsurgeon.survey.channels import Dim, NotUnderstood, Outside, Shape, Value, join

__all__ = ["Rule", "adaptive", "elementwise", "flattened", "leaves", "pooled", "rule_of"]

Rule = Callable[..., Any]


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
    _refuse_counts(given)
    values = [one for one in given if isinstance(one, Value)]
    outside = [one for one in given if isinstance(one, Outside)]
    if values:
        return join(values, outside)
    return outside[0] if outside else None


def pooled(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Each channel's map becomes another map, by a rule that is the same for all channels."""
    _refuse_counts(leaves([args, kwargs]))
    if any(isinstance(one, Value | Outside) for one in leaves([args, kwargs])) or kwargs.get("return_indices"):
        raise NotUnderstood("it is pooled with more than a map of its own")
    if not isinstance(x, Value):
        return x
    _need_map(x)
    return replace(x, single=False)


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


def adaptive(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `pooled`, to a map of a given size."""
    found = pooled(x, output_size, return_indices=return_indices)
    single = all(size == 1 for size in leaves(output_size))
    return replace(found, single=single) if isinstance(found, Value) else found


def _padded(x: Any, pad: Sequence[Any], mode: str = "constant", value: Any = None) -> Any:
    if isinstance(x, Value) and x.axis >= x.rank - len(pad) // 2:
        raise NotUnderstood("channels are padded to it")
    return pooled(x, pad, mode, value)


def _reduced(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
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


def _concatenated(tensors: Sequence[Any], dim: int = 0) -> Any:
    if not isinstance(tensors, list | tuple):
        raise NotUnderstood("it is in a list that can't be followed")
    values = [one for one in tensors if isinstance(one, Value)]
    if not values:
        return next((one for one in tensors if isinstance(one, Outside)), None)
    first = values[0]
    if dim % first.rank != first.axis:
        return elementwise(*tensors)
    if any((one.rank, one.axis, one.span) != (first.rank, first.axis, 1) for one in values):
        raise NotUnderstood("it is concatenated with values of other axes")
    pieces = [one.pieces if isinstance(one, Value) else (Outside("a value that is no tensor"),) for one in tensors]
    pieces = [(one,) if isinstance(one, Outside) else mine for one, mine in zip(tensors, pieces, strict=True)]
    return replace(first, pieces=tuple(piece for mine in pieces for piece in mine))


def _unchanged(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Another dtype, device, memory layout, or a copy."""
    return x


def _permuted(x: Any, *dims: Any) -> Any:
    order = leaves(dims)
    if not isinstance(x, Value):
        return x
    if not all(isinstance(one, int) for one in order) or len(order) != x.rank:
        raise NotUnderstood("its axes are moved in a way that can't be followed")
    places = [one % x.rank for one in order]
    return replace(x, axis=places.index(x.axis))


def _transposed(x: Any, dim0: int, dim1: int) -> Any:
    if not isinstance(x, Value):
        return x
    order = list(range(x.rank))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permuted(x, order)


def _unsqueezed(x: Any, dim: int) -> Any:
    if not isinstance(x, Value):
        return x
    place = dim % (x.rank + 1)
    return replace(x, rank=x.rank + 1, axis=x.axis + (place <= x.axis))


def _squeezed(x: Any, dim: Any = None) -> Any:
    if not isinstance(x, Value):
        return x
    gone = {one % x.rank for one in leaves(dim) if isinstance(one, int)}
    if not gone or gone & {0, x.axis} or not x.single:
        raise NotUnderstood("axes that may have more than one entry are squeezed out of it")
    return replace(x, rank=x.rank - len(gone), axis=x.axis - sum(one < x.axis for one in gone))


def _reshaped(x: Any, *shape: Any) -> Any:
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
    _refuse_counts(sizes[2:])
    if len(sizes) == 2:
        return flattened(x, 1) if x.single else replace(x, rank=2, single=True)
    return replace(x, rank=len(sizes), span=1, single=x.single and x.span == 1)


def _expanded(x: Any, *shape: Any) -> Any:
    """More entries along axes that have one; the channels are among the sizes as they are."""
    sizes = leaves(shape)
    if not isinstance(x, Value):
        return elementwise(x, *(one for one in sizes if not isinstance(one, Shape)))
    if len(sizes) != x.rank or not (sizes[x.axis] == -1 or _counts_channels(sizes[x.axis], x)):
        raise NotUnderstood("it is expanded to a fixed number of channels")
    return replace(x, single=False)


def _indexed(x: Any, index: Any) -> Any:
    """A size out of a shape, or a part of a map with all of its channels."""
    if isinstance(x, Shape):
        return _sized(x, index)
    if not isinstance(x, Value):
        return x
    axis, rank, old = x.axis, x.rank, 0
    for new, one in enumerate(index if isinstance(index, tuple) else (index,)):
        if one is None:
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


def _size(x: Any, dim: Any = None) -> Any:
    if not isinstance(x, Value | Outside):
        return None
    whole = Shape(x, tuple(range(x.rank)) if isinstance(x, Value) else None)
    return whole if dim is None else _sized(whole, dim)


def _attribute(x: Any, name: str) -> Any:
    if name == "shape":
        return _size(x)
    if name in ("dtype", "device", "ndim", "is_cuda", "requires_grad"):
        return None
    raise NotUnderstood(f"the forward asks for its '{name}'")


def _told(*args: Any, **kwargs: Any) -> None:
    """A check or a number that follows from no channel."""
    _refuse_counts(leaves([args, kwargs]))
    if any(isinstance(one, Value | Outside) for one in leaves([args, kwargs])):
        raise NotUnderstood("a check of the forward reads it")


def _need_map(x: Value) -> None:
    if x.axis != 1 or x.rank < 3 or x.span != 1:
        raise NotUnderstood("it is pooled over its channels")


def _counts_channels(size: Any, x: Value) -> bool:
    """Whether a size is the number of channels of ``x``, as the forward reads it at run time."""
    counted = size.counted() if isinstance(size, Dim) else None
    return counted is not None and counted.span == 1 and counted.channels_of(x)


def _refuse_counts(given: Sequence[Any]) -> None:
    """A number of channels that the forward computes with can't change.

    Raises:
        NotUnderstood: there is one.
    """
    if any(isinstance(one, Shape | Dim) and one.counted() is not None for one in given):
        raise NotUnderstood("the forward computes with its number of channels")


_ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu silu gelu hardswish hardsigmoid hardtanh mish softplus softsign logsigmoid "
    "tanhshrink softshrink hardshrink threshold rrelu sigmoid tanh dropout dropout1d dropout2d dropout3d "
    "alpha_dropout feature_alpha_dropout relu_ leaky_relu_ elu_ selu_ celu_ hardtanh_ threshold_ rrelu_"
)
_ARITHMETIC = (
    "add sub mul div true_divide maximum minimum relu sigmoid tanh clamp clamp_min clamp_max abs neg exp log sqrt "
    "rsqrt square pow reciprocal sin cos erf expm1 log1p floor ceil round sign"
)
_OPERATORS = "add iadd sub isub mul imul truediv itruediv pow neg pos abs"
_COMPARISONS = "eq ne lt le gt ge floordiv mod not_ and_ or_"
_POOLS = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d "
    "interpolate upsample upsample_nearest upsample_bilinear"
)
_ADAPTIVE = " ".join(f"adaptive_{kind}_pool{axes}d" for kind in ("avg", "max") for axes in (1, 2, 3))
_REDUCTIONS = "mean sum amax amin"
_CASTS = "contiguous clone detach to float half bfloat16 double type type_as cpu cuda"
_SHAPES: dict[str, Rule] = {
    "flatten": flattened,
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "reshape": _reshaped,
}


def _named(homes: Sequence[Any], names: str, rule: Rule) -> dict[Any, Rule]:
    return {getattr(home, name): rule for home in homes for name in names.split() if hasattr(home, name)}


_FUNCTIONS: dict[Any, Rule] = {
    **_named([torch, F], _ACTIVATIONS, elementwise),
    **_named([torch], _ARITHMETIC, elementwise),
    **_named([operator], _OPERATORS, elementwise),
    **_named([operator], _COMPARISONS, _told),
    **_named([torch, F], _POOLS, pooled),
    **_named([torch, F], _ADAPTIVE, adaptive),
    **_named([torch], _REDUCTIONS, _reduced),
    **{getattr(torch, name): rule for name, rule in _SHAPES.items()},
    **_named([torch], "cat concat concatenate", _concatenated),
    F.pad: _padded,
    operator.getitem: _indexed,
    getattr: _attribute,
    torch._assert: _told,
}
_METHODS: dict[str, Rule] = {
    **dict.fromkeys(f"{_ARITHMETIC} hardshrink".split(), elementwise),
    **dict.fromkeys((f"{name}_" for name in _ARITHMETIC.split()), elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), _reduced),
    **dict.fromkeys(_CASTS.split(), _unchanged),
    **_SHAPES,
    "view": _reshaped,
    "expand": _expanded,
    "expand_as": elementwise,
    "size": _size,
    "dim": _told,
}
# Functions of libraries that need not be there, by where they are defined.
_FOREIGN: dict[str, Rule] = {"torchvision.ops.stochastic_depth.stochastic_depth": elementwise}


def rule_of(target: Any) -> Rule | None:
    """The rule for a function, or for a method by its name; None where there is none."""
    if isinstance(target, str):
        return _METHODS.get(target)
    try:
        found = _FUNCTIONS.get(target)
    except TypeError:
        return None
    return found or _FOREIGN.get(f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}")
