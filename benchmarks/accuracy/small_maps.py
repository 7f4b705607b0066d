"""Convolutions on small maps as matrix products, which train faster on a CPU that multiplies bfloat16 in tiles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware tiles; without them bfloat16 is no faster."""
    # torch 2.9 has no get_capabilities yet
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_tile")) and bool(capabilities.get("amx_bf16"))


class SmallMapsAsMatmul(TorchFunctionMode):
    """Compute bias-free k×k convolutions whose output map is at most 4×4 as one bfloat16 matrix product.

    The backward pass of torch's own convolution on such maps takes up to six times as long on a CPU with AMX.
    """

    largest_map = 16

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and not kwargs and self.fits(*args):
            images, weight, _, stride, padding = args[:5]
            return conv_as_matmul(images.bfloat16(), weight.bfloat16(), stride[0], padding[0])
        return func(*args, **(kwargs or {}))

    def fits(
        self,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
        groups: int,
    ) -> bool:
        """Whether the convolution that `torch.conv2d` would make of these arguments is one to replace."""
        square = all(len(set(pair)) == 1 for pair in (stride, padding, weight.shape[2:]))
        plain = bias is None and groups == 1 and dilation == (1, 1) and not isinstance(padding, str)
        positions = images.shape[2] * images.shape[3] / (stride[0] * stride[1])
        return plain and square and weight.shape[2] > 1 and positions <= self.largest_map


def conv_as_matmul(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """[N, C, H, W] and [O, C, k, k] → [N, O, H', W'], both maps stored channels last."""
    k = weight.shape[2]
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    high, wide = ((side - k) // stride + 1 for side in padded.shape[1:3])
    taps = [
        padded[:, i : i + (high - 1) * stride + 1 : stride, j : j + (wide - 1) * stride + 1 : stride]
        for i in range(k)
        for j in range(k)
    ]
    rows = torch.cat(taps, dim=-1).flatten(0, 2)
    product = rows @ weight.permute(0, 2, 3, 1).flatten(1).t()
    return product.view(len(images), high, wide, -1).permute(0, 3, 1, 2)
