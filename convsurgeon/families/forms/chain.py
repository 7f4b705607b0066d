"""Forms of a unit that is a chain of dense convolutions: orders, scale and shift go into its two ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from convsurgeon.families.forms.absorbed import Absorbed, unit_of
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, kernel_of, over
from convsurgeon.families.torch_convs import Conv, plain_conv
from convsurgeon.families.unit import CompactConv

__all__ = ["chain_forms", "dense_like"]

UnitT = TypeVar("UnitT", bound=CompactConv)


def chain_forms(
    absorbed: Absorbed, kind: type[UnitT], chains: Sequence[tuple[str, Callable[[UnitT], Sequence[Conv]]]]
) -> list[Form]:
    """A form for each way to write the unit as a chain, in the given order.

    None where a part is not torch's own. Only the last convolution of a chain has a bias.
    """
    if any(type(part) not in PLAIN_CONVS for part in absorbed.unit.children()):
        return []
    return [Form(name, partial(_built, kind=kind, parts=parts)) for name, parts in chains]


def _built(absorbed: Absorbed, kind: type[UnitT], parts: Callable[[UnitT], Sequence[Conv]]) -> nn.Module:
    """The convolutions in turn, what was absorbed in the columns of the first and the rows of the last."""
    chain = parts(unit_of(absorbed, kind))
    kernels = [kernel_of(part) for part in chain]
    kernels[0] = kernels[0][:, absorbed.reads.argsort()]
    kernels[-1] = (kernels[-1] * over(absorbed.scale, kernels[-1].dim()))[absorbed.writes]
    bias = (bias_of(chain[-1]) * absorbed.scale + absorbed.shift)[absorbed.writes]
    biases: list[Tensor | None] = [*[None] * (len(chain) - 1), bias]
    built = [convolution(part, kernel, own) for part, kernel, own in zip(chain, kernels, biases, strict=True)]
    return built[0] if len(built) == 1 else nn.Sequential(*built)


def dense_like(unit: CompactConv, weight: Tensor, bias: Tensor | None) -> Conv:
    """The unit as one convolution with these weights [C_out, C_in, …]."""
    with torch.device("meta"):
        like = plain_conv(unit.shape)
    like.weight = nn.Parameter(next(unit.parameters()).detach().new_empty(0), requires_grad=False)
    return convolution(like, weight, bias)
