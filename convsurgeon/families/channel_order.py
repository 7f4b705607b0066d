"""Channels in another order."""

from __future__ import annotations

from torch import Tensor

__all__ = ["reordered"]


def reordered(x: Tensor, order: Tensor) -> Tensor:
    """``x[:, order]``: [N, C, …] → [N, len(order), …].

    With one more axis meanwhile, which costs nothing: OpenVINO takes four-dimensional channels that are indexed before
    a convolution for reversed colours, and gives the convolution's weights the inverse order, which is right only for
    orders that are their own inverse (seen with 2026.4, in modules and ONNX files alike).
    """
    return x.unsqueeze(2).index_select(1, order).squeeze(2)
