"""Forms of a unit that is a chain of dense convolutions: orders, scale and shift go into its two ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, kernel_of, over
from convsurgeon.families.torch_convs import Conv, plain_conv
from convsurgeon.families.unit import CompactConv

__all__ = ["chain_forms", "dense_like"]

# Writes a unit as convolutions that follow one another.
Chain = Callable[[CompactConv], Sequence[Conv]]


def chain_forms(absorbed: Absorbed, chains: Sequence[tuple[str, Chain]]) -> list[Form]:
    """A form for each way to write the unit as a chain, in the given order.

    None where a part is not torch's own. Only the last convolution of a chain has a bias.
    """
    if any(type(part) not in PLAIN_CONVS for part in absorbed.unit.children()):
        return []
    return [Form(name, _built_by(parts)) for name, parts in chains]


def _built_by(parts: Chain) -> Callable[[Absorbed], nn.Module]:
    return lambda absorbed: _built(absorbed, parts(absorbed.unit))


def _built(absorbed: Absorbed, parts: Sequence[Conv]) -> nn.Module:
    """The convolutions in turn, what was absorbed in the columns of the first and the rows of the last."""
    kernels = [kernel_of(part) for part in parts]
    kernels[0] = kernels[0][:, absorbed.reads.argsort()]
    kernels[-1] = (kernels[-1] * over(absorbed.scale, kernels[-1].dim()))[absorbed.writes]
    bias = (bias_of(parts[-1]) * absorbed.scale + absorbed.shift)[absorbed.writes]
    biases: list[Tensor | None] = [*[None] * (len(parts) - 1), bias]
    built = [convolution(part, kernel, own) for part, kernel, own in zip(parts, kernels, biases, strict=True)]
    return built[0] if len(built) == 1 else nn.Sequential(*built)


def dense_like(unit: CompactConv, weight: Tensor, bias: Tensor | None) -> Conv:
    """The unit as one convolution with these weights [C_out, C_in, …]."""
    with torch.device("meta"):
        like = plain_conv(unit.shape)
    like.weight = nn.Parameter(next(unit.parameters()).detach().new_empty(0), requires_grad=False)
    return convolution(like, weight, bias)
