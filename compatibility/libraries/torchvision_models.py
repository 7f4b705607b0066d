"""All of torchvision's registered networks, built as its own ``get_model`` builds them."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models as zoo

from compatibility.subjects import Subject, image, sides_from

__all__ = ["subjects"]

_FRAMES = 16
_PROPOSALS = 50  # per image: a thousand boxes through a head of convolutions cost more than all the rest


def subjects() -> tuple[Subject, ...]:
    """One subject for every registered name."""
    return tuple(_subject(name) for name in zoo.list_models())


def _subject(name: str) -> Subject:
    kind = zoo.get_model_builder(name).__module__.split(".")[-2]
    build = partial(_build, name)
    if kind == "detection":
        native = 300 if name.startswith("ssd300") else 320 if "320" in name else 800
        return Subject(
            "torchvision",
            name,
            build,
            _image_list,
            partial(_image_list, targets=True, kind=name.partition("_")[0]),
            sides_from(native, least=160),
            _resize_to,
            varying=True,
        )
    if kind == "video":
        native = max(zoo.get_model_weights(name).DEFAULT.transforms().crop_size)
        return Subject("torchvision", name, build, _clip, sides=sides_from(native))
    if kind == "optical_flow":
        return Subject("torchvision", name, build, _frame_pair, sides=(128,))
    return Subject("torchvision", name, build, sides=sides_from(_image_side(name, kind)))


def _image_side(name: str, kind: str) -> int:
    transforms = zoo.get_model_weights(name).DEFAULT.transforms()
    return int((transforms.resize_size if kind == "segmentation" else transforms.crop_size)[0])


def _build(name: str) -> nn.Module:
    accepted = inspect.signature(zoo.get_model_builder(name)).parameters
    options: dict[str, Any] = {"weights_backbone": None} if "weights_backbone" in accepted else {}
    if "aux_loss" in accepted:
        options["aux_loss"] = True
    if name.startswith("vit_"):
        options["image_size"] = _image_side(name, "models")
    if name.removeprefix("quantized_").startswith(("googlenet", "inception")):
        options["init_weights"] = False  # draws from a truncated normal by way of scipy, for minutes
    return zoo.get_model(name, weights=None, **options)


def _clip(batch: int, side: int) -> Any:
    return (image(batch * _FRAMES, side).unflatten(0, (batch, _FRAMES)).transpose(1, 2).contiguous(),)


def _frame_pair(batch: int, side: int) -> Any:
    return image(batch, side), image(batch, side).flip(-1)


def _image_list(batch: int, side: int, *, targets: bool = False, kind: str = "") -> Any:
    images = list(image(batch, side).unbind())
    return (images, [_target(side, kind) for _ in images]) if targets else (images,)


def _target(side: int, kind: str) -> dict[str, Tensor]:
    """One box, and for the kinds that ask for it a mask or keypoints [1, 17, 3]."""
    quarter, rest = side / 4, side * 3 / 4
    target = {"boxes": torch.tensor([[quarter, quarter, rest, rest]]), "labels": torch.tensor([1])}
    if kind == "maskrcnn":
        target["masks"] = torch.ones(1, side, side, dtype=torch.uint8)
    if kind == "keypointrcnn":
        target["keypoints"] = torch.full((1, 17, 3), side / 2)
    return target


def _resize_to(model: nn.Module, side: int) -> None:
    """Detectors resize their images themselves; the boxes of an R-CNN's second stage are few."""
    transform: Any = model.transform
    if transform.fixed_size is not None:
        transform.fixed_size = (side, side)
    transform.min_size, transform.max_size = (side,), side
    rpn: Any = getattr(model, "rpn", None)
    if rpn is not None:
        rpn._post_nms_top_n = {"training": _PROPOSALS, "testing": _PROPOSALS}
