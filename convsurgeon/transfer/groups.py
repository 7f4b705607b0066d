"""A convolution as dense linear problems, one for each of its groups, whose solutions are put together again.

A transposed convolution multiplies each input position [C_in/G] by a matrix [S·C_out/G, C_in/G] and spreads the result:
a problem of its own is a 1×1 convolution to S·C_out/G virtual channels (kernel position first), and overlapping
contributions are summed by what stays outside of the problem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convsurgeon.families import IGC, DGConvSpec, HardenedDGConv, IGCSpec
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.moments import Linear
from convsurgeon.survey.sources import Conv

__all__ = ["group_spec", "join", "linears_of", "parts_of", "real_bias", "unknowns_of"]


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


def group_spec(spec: IGCSpec | DGConvSpec, groups: int) -> IGCSpec | DGConvSpec:
    """What one of ``groups`` groups becomes."""
    if isinstance(spec, DGConvSpec):
        return DGConvSpec(groups=None if spec.groups is None else spec.groups // groups)
    return IGCSpec(
        primary_groups=spec.primary_groups // groups,
        secondary_groups=spec.secondary_groups // groups,
        mid_channels=spec.mid_channels // groups,
    )


def parts_of(module: IGC | HardenedDGConv) -> tuple[IGC | HardenedDGConv, ...]:
    """A unit for each linear problem; the module itself where it is the only one and not transposed."""
    groups = module.shape.groups
    if groups == 1 and not module.shape.transposed:
        return (module,)
    shape, spec = _problem(module.shape), group_spec(module.spec, groups)
    example = next(module.parameters())
    units = (spec.build(shape).to(example.device, example.dtype) for _ in range(groups))
    return tuple(unit for unit in units if isinstance(unit, (IGC, HardenedDGConv)))


def _problem(shape: ConvShape) -> ConvShape:
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


def join(module: IGC | HardenedDGConv, parts: Sequence[IGC | HardenedDGConv]) -> None:
    """Write the units' weights and orders, side by side, into ``module``; biases are written as a whole."""
    if parts[0] is module:
        return
    states = [part.state_dict() for part in parts]
    for key, own in module.state_dict().items():
        values = [state[key] for state in states if key in state]
        if key in ("input_order", "output_order"):
            own.copy_(torch.cat([value + i * len(value) for i, value in enumerate(values)]))
        elif key == "secondary.weight" and module.shape.transposed:
            own.copy_(torch.cat([_spread(value, module) for value in values]))
        elif key.endswith(".weight"):
            own.copy_(torch.cat(values))


def _spread(weight: Tensor, module: IGC | HardenedDGConv) -> Tensor:
    """[S·C_out, C_mid/M, 1…] of a linear problem → [C_mid, C_out/M, k…] of a transposed convolution."""
    partitions = module.secondary.groups // module.shape.groups if isinstance(module, IGC) else 1
    cut = weight.flatten(1).view(partitions, module.shape.area, -1, weight[0].numel())
    return cut.permute(0, 3, 2, 1).flatten(0, 1).reshape(-1, cut.shape[2], *module.shape.kernel)


def real_bias(shape: ConvShape, bias: Tensor, original: Tensor) -> Tensor:
    """One group's bias [C_out/G] from that of its linear problem, which was ``original`` before the fit.

    Of a transposed convolution every kernel position has moved its own bias; a place on the map gets, on average,
    S / (product of the strides) of them.
    """
    if not shape.transposed:
        return bias
    moved = (bias - original).view(shape.area, -1).sum(0) / math.prod(shape.stride)
    return original.view(shape.area, -1)[0] + moved
