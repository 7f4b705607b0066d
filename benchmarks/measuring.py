"""CPU seconds that a plan by measured damage takes: ``python -m benchmarks.measuring resnet50 112 40``.

Weights and images are random (smooth images, so that neighbouring pixels resemble each other). ``small`` is a net of
six 3×3 convolutions for grey images.
"""

from __future__ import annotations

import os
import tempfile
import time

import click
import torch
from torch import Tensor, nn
from torchvision.models import get_model

import convsurgeon

WIDTHS = (32, 64, 64, 128, 128, 256)


def small_net() -> nn.Module:
    """[N, 1, H, W] → [N, 10]; every second of its later convolutions halves the map."""
    layers: list[nn.Module] = []
    for number, (ahead, behind) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False)):
        stride = 2 if number in (2, 4) else 1
        layers += [nn.Conv2d(ahead, behind, 3, stride, 1, bias=False), nn.BatchNorm2d(behind), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 10))


def smooth_images(count: int, channels: int, size: int) -> Tensor:
    """[N, C, H, W] of blurred noise with a little of the plain kind."""
    coarse = torch.randn(count, channels, size // 4, size // 4)
    return nn.functional.interpolate(coarse, size=size, mode="bilinear") + 0.1 * torch.randn(
        count, channels, size, size
    )


@click.command()
@click.argument("network")
@click.argument("size", type=int)
@click.argument("images", type=int)
@click.option("--target", default="macs=50%", show_default=True)
@click.option("--moves", default="swap", show_default=True)
def main(network: str, size: int, images: int, target: str, moves: str) -> None:
    """Plan NETWORK (small, or a name of torchvision's) with IMAGES images of SIZE × SIZE pixels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = (small_net() if network == "small" else get_model(network, weights=None)).eval()
    batches = list(smooth_images(images, 1 if network == "small" else 3, size).split(32))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CONVSURGEON_CACHE"] = cache
        start = time.process_time()
        plan = convsurgeon.plan(model, batches[0][:1], target=target, moves=moves, calibration=batches)
        seconds = time.process_time() - start
    click.echo(f"{network} {size}×{size}, {images} images, {target}, {moves}: {seconds:.1f} s of CPU, {plan.objective}")


if __name__ == "__main__":
    main()
