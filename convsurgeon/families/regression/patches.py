"""Input patches of a convolution: the columns its kernel multiplies, at chosen output positions only."""

from __future__ import annotations

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.torch_convs import padded

__all__ = ["block_diagonal", "columns_at", "matrix", "output_size", "patches_at", "same_size", "sources_at"]


def patches_at(x: Tensor, shape: ConvShape, chosen: Tensor) -> Tensor:
    """Unfolded patches [P, C_in·S] of ``x`` [N, C_in, H, W] at ``chosen`` flat output positions [P] (over N·H'·W').

    Column order is that of ``weight.flatten(1)``: channel first, then the kernel. Half-precision inputs are read
    as float32.
    """
    windows = _windows(padded(_at_least_float(x), shape), shape)
    axes = len(shape.kernel)
    places = torch.unravel_index(chosen, (windows.shape[0], *windows.shape[2 : 2 + axes]))
    ahead = windows.permute(0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    return _at_least_float(ahead[places]).flatten(1)


def sources_at(x: Tensor, shape: ConvShape, chosen: Tensor) -> Tensor:
    """Values [P, C_in] of ``x`` below ``chosen`` flat output positions [P] of a transposed convolution."""
    size = x.shape[2:]
    images, *places = torch.unravel_index(chosen, (len(x), *output_size(x, shape)))
    below = [
        ((place + pad) // stride).clamp(max=n - 1)
        for place, (pad, _), stride, n in zip(places, shape.pads(size), shape.stride, size, strict=True)
    ]
    return _at_least_float(x.movedim(1, -1)[(images, *below)])


def columns_at(y: Tensor, chosen: Tensor) -> Tensor:
    """Values [P, C] of a map [N, C, H', W'] at ``chosen`` flat positions [P]."""
    places = torch.unravel_index(chosen, (y.shape[0], *y.shape[2:]))
    return _at_least_float(y.movedim(1, -1)[places])


def output_size(x: Tensor, shape: ConvShape) -> torch.Size:
    """(H', W') of the convolution on ``x`` [N, C_in, H, W]."""
    sizes = []
    pads = shape.pads(x.shape[2:])
    if shape.output_padding is not None:
        axes = zip(x.shape[2:], shape.stride, shape.dilation, shape.kernel, shape.output_padding, pads, strict=True)
        return torch.Size((n - 1) * s + d * (k - 1) + 1 + more - sum(ends) for n, s, d, k, more, ends in axes)
    for axis, (kernel, dilation, stride) in enumerate(zip(shape.kernel, shape.dilation, shape.stride, strict=True)):
        room = x.shape[2 + axis] + sum(pads[axis]) - dilation * (kernel - 1) - 1
        sizes.append(room // stride + 1)
    return torch.Size(sizes)


def matrix(weight: Tensor, groups: int = 1) -> Tensor:
    """A conv weight as one dense float64 matrix [C_out, C_in·S]; a grouped one gets zeros between its groups."""
    flat = weight.detach().to("cpu", torch.float64).flatten(1)
    if groups == 1:
        return flat
    return block_diagonal(torch.stack(flat.chunk(groups)))


def block_diagonal(blocks: Tensor) -> Tensor:
    """[B, m, n] → [B·m, B·n] with zeros elsewhere."""
    count, rows, columns = blocks.shape
    whole = blocks.new_zeros(count, rows, count, columns)
    each = torch.arange(count)
    whole[each, :, each] = blocks
    return whole.reshape(count * rows, count * columns)


def same_size(shape: ConvShape, channels: int, kernel: tuple[int, ...] | None = None) -> ConvShape:
    """The shape of an inner convolution that keeps the size of the map it reads, over ``channels`` channels."""
    own = kernel if kernel is not None else shape.kernel
    return shape.model_copy(
        update={
            "in_channels": channels,
            "kernel": own,
            "stride": (1,) * len(own),
            "padding": "same",
            "dilation": shape.dilation if own == shape.kernel else (1,) * len(own),
        }
    )


def _at_least_float(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _windows(x: Tensor, shape: ConvShape) -> Tensor:
    """A view [N, C, H', W', kh, kw] of the padded input."""
    for axis, (kernel, dilation, stride) in enumerate(zip(shape.kernel, shape.dilation, shape.stride, strict=True)):
        x = x.unfold(2 + axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    return x
