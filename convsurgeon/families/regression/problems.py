"""A convolution as dense linear problems, one for each of its groups, whose solutions are put together again.

A transposed convolution multiplies each input position [C_in/G] by a matrix [S·C_out/G, C_in/G] and spreads the result:
a problem of its own is a 1×1 convolution to S·C_out/G virtual channels (kernel position first), and overlapping
contributions are summed by what stays outside of the problem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.moments import Linear
from convsurgeon.families.torch_convs import Conv
from convsurgeon.families.unit import CompactConv

__all__ = ["linears_of", "parts_of", "problem_of", "real_bias", "side_by_side", "spread", "unknowns_of"]

Unit = TypeVar("Unit", bound=CompactConv)


def unknowns_of(shape: ConvShape) -> int:
    """Weights that one output of a linear problem has."""
    return shape.in_channels // shape.groups * (1 if shape.transposed else shape.area)


def linears_of(conv: Conv, shape: ConvShape) -> tuple[Linear, ...]:
    """Each group's matrix [C_out/G, C_in/G·S] (of a transposed one [S·C_out/G, C_in/G]) and bias; float64, CPU."""
    weight = conv.weight.detach().to("cpu", torch.float64)
    shifts = torch.zeros(shape.out_channels) if conv.bias is None else conv.bias.detach()
    biases = shifts.to("cpu", torch.float64).chunk(shape.groups)
    if not shape.transposed:
        rows = weight.flatten(1).chunk(shape.groups)
        return tuple(Linear(row, bias) for row, bias in zip(rows, biases, strict=True))
    groups = weight.flatten(2).chunk(shape.groups)
    spread = [group.permute(2, 1, 0).flatten(0, 1) for group in groups]
    return tuple(Linear(row, bias.repeat(shape.area)) for row, bias in zip(spread, biases, strict=True))


def parts_of(unit: Unit) -> tuple[Unit, ...]:
    """A unit for each linear problem; the unit itself where it is the only one and not transposed."""
    groups = unit.shape.groups
    if groups == 1 and not unit.shape.transposed:
        return (unit,)
    shape, spec = problem_of(unit.shape), unit.spec.within(groups)
    example = next(unit.parameters())
    units = (spec.build(shape).to(example.device, example.dtype) for _ in range(groups))
    return tuple(part for part in units if isinstance(part, type(unit)))


def side_by_side(unit: CompactConv, parts: Sequence[CompactConv]) -> dict[str, list[Tensor]]:
    """The parts' tensors by the name that the whole unit has for them, biases aside: those are written as a whole."""
    states = [part.state_dict() for part in parts]
    return {
        key: [state[key] for state in states if key in state] for key in unit.state_dict() if not key.endswith("bias")
    }


def spread(weight: Tensor, shape: ConvShape, partitions: int = 1) -> Tensor:
    """[S·C_out, C_mid/M, 1…] of a linear problem → [C_mid, C_out/M, k…] of a transposed convolution of ``shape``."""
    cut = weight.flatten(1).view(partitions, shape.area, -1, weight[0].numel())
    return cut.permute(0, 3, 2, 1).flatten(0, 1).reshape(-1, cut.shape[2], *shape.kernel)


def problem_of(shape: ConvShape) -> ConvShape:
    """The convolution that one group's linear problem stands for."""
    channels = {"in_channels": shape.in_channels // shape.groups, "out_channels": shape.out_channels // shape.groups}
    if not shape.transposed:
        return shape.model_copy(update={**channels, "groups": 1})
    one = (1,) * len(shape.kernel)
    return ConvShape(
        in_channels=channels["in_channels"],
        out_channels=channels["out_channels"] * shape.area,
        kernel=one,
        stride=one,
        padding=(0,) * len(one),
        dilation=one,
        bias=shape.bias,
    )


def real_bias(shape: ConvShape, bias: Tensor, original: Tensor) -> Tensor:
    """One group's bias [C_out/G] from that of its linear problem, which was ``original`` before the fit.

    Of a transposed convolution every kernel position has moved its own bias; a place on the map gets, on average,
    S / (product of the strides) of them.
    """
    if not shape.transposed:
        return bias
    moved = (bias - original).view(shape.area, -1).sum(0) / math.prod(shape.stride)
    return original.view(shape.area, -1)[0] + moved
