"""Convolutions, inputs that look like feature maps, and how far a module is from its convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsurgeon.transfer import FitResult, SiteData


def feature_maps(images: int, channels: int, size: int | tuple[int, int] = 10, seed: int = 0) -> Tensor:
    """Correlated across channels and positions, and cut at zero, as behind a ReLU: [N, C, H, W]."""
    random = torch.Generator().manual_seed(seed)
    height, width = (size, size) if isinstance(size, int) else size
    mix = torch.eye(channels) + 0.3 * torch.randn(channels, channels, generator=random)
    noise = F.avg_pool2d(torch.randn(images, channels, height, width, generator=random), 3, 1, 1)
    return torch.einsum("ij,njhw->nihw", mix, noise).relu()


@torch.no_grad()
def site_data(conv: nn.Conv2d, x: Tensor, batch: int = 16) -> SiteData:
    """The convolution's own inputs and outputs, in batches."""
    return SiteData.of([(part, conv(part)) for part in x.split(batch)])


@torch.no_grad()
def drifted(conv: nn.Module, images: int, channels: int) -> tuple[Tensor, Tensor]:
    """Inputs that earlier layers moved, image by image and the same at all its positions, and outputs without that."""
    there = torch.randn(images, channels, 1, 1) + 0.2 * torch.randn(images, channels, 7, 7)
    return there + 0.5 * torch.randn(images, channels, 1, 1), conv(there)


@torch.no_grad()
def distance(module: nn.Module, conv: nn.Module, x: Tensor, result: FitResult | None = None) -> float:
    """‖y − ŷ‖² / ‖y − mean(y)‖², with what a batch norm behind would take up."""
    y, found = conv(x).double(), module(x).double()
    if result is not None and result.scale is not None:
        found = found * result.scale[:, None, None]
    if result is not None and result.shift is not None:
        found = found + result.shift[:, None, None]
    return float((y - found).square().sum() / (y - y.mean((0, 2, 3), keepdim=True)).square().sum())
