"""Convolutions and linear layers without some of their channels, and what they then cost."""

from __future__ import annotations

from convsurgeon.families.cost import ConvShape, Cost

__all__ = ["narrowed_conv_cost", "narrowed_shape"]


def narrowed_shape(shape: ConvShape, gone: tuple[int, int]) -> ConvShape:
    """The shape without ``gone`` input and output channels; a depthwise convolution stays one."""
    if gone == (0, 0):
        return shape
    inputs, outputs = gone
    depthwise = shape.groups == shape.in_channels > 1
    changed = {
        "in_channels": shape.in_channels - inputs,
        "out_channels": shape.out_channels - outputs,
        "groups": shape.groups - inputs if depthwise else shape.groups,
    }
    return shape.model_copy(update=changed)


def narrowed_conv_cost(whole: Cost, shape: ConvShape, gone: tuple[int, int], positions: int) -> Cost:
    """What a convolution of ``shape`` that costs ``whole`` costs without so many input and output channels."""
    return whole + narrowed_shape(shape, gone).cost(positions) - shape.cost(positions)
