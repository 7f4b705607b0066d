"""Which rule says what a function or a method does to the channels of the tensors it reads.

A rule gets its arguments as `convsurgeon.survey.channels` describes them, plain numbers as they are, and gives back
what describes its result. A `NotUnderstood` closes all streams it reads.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from convsurgeon.survey.channelwise import (
    adaptive,
    concatenated,
    elementwise,
    padded,
    pooled,
    reduced,
    told,
    unchanged,
)
from convsurgeon.survey.reshaping import (
    attribute,
    expanded,
    flattened,
    indexed,
    permuted,
    reshaped,
    size,
    squeezed,
    transposed,
    unsqueezed,
)

__all__ = ["Rule", "rule_of"]

Rule = Callable[..., Any]


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
    "permute": permuted,
    "transpose": transposed,
    "swapaxes": transposed,
    "unsqueeze": unsqueezed,
    "squeeze": squeezed,
    "reshape": reshaped,
}


def _named(homes: Sequence[Any], names: str, rule: Rule) -> dict[Any, Rule]:
    return {getattr(home, name): rule for home in homes for name in names.split() if hasattr(home, name)}


_FUNCTIONS: dict[Any, Rule] = {
    **_named([torch, F], _ACTIVATIONS, elementwise),
    **_named([torch], _ARITHMETIC, elementwise),
    **_named([operator], _OPERATORS, elementwise),
    **_named([operator], _COMPARISONS, told),
    **_named([torch, F], _POOLS, pooled),
    **_named([torch, F], _ADAPTIVE, adaptive),
    **_named([torch], _REDUCTIONS, reduced),
    **{getattr(torch, name): rule for name, rule in _SHAPES.items()},
    **_named([torch], "cat concat concatenate", concatenated),
    F.pad: padded,
    operator.getitem: indexed,
    getattr: attribute,
    torch._assert: told,
}
_METHODS: dict[str, Rule] = {
    **dict.fromkeys(f"{_ARITHMETIC} hardshrink".split(), elementwise),
    **dict.fromkeys((f"{name}_" for name in _ARITHMETIC.split()), elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), reduced),
    **dict.fromkeys(_CASTS.split(), unchanged),
    **_SHAPES,
    "view": reshaped,
    "expand": expanded,
    "expand_as": elementwise,
    "size": size,
    "dim": told,
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
