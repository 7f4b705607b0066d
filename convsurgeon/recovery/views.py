"""Random views of images: a part, mirrored or not, and where the boxes on the image are in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convsurgeon.recovery.settings import Augment

__all__ = ["View", "drawn"]

_RATIOS = (3 / 4, 4 / 3)
# Less than this of an object is none.
_LEAST_SEEN = 0.3


@dataclass(frozen=True)
class View:
    """A part of an image, in its pixels."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    def of(self, image: Any) -> Any:
        """The part of a PIL image or a tensor [C, H, W]."""
        from torchvision.transforms.v2 import functional

        part = functional.crop(image, self.top, self.left, self.height, self.width)
        return functional.horizontal_flip(part) if self.mirrored else part

    def target(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The boxes [n, 4] and labels [n] of the image, as far as they are in the part."""
        boxes = whole["boxes"] - torch.tensor([self.left, self.top] * 2, dtype=torch.float32)
        seen = boxes.clone()
        seen[:, 0::2] = seen[:, 0::2].clamp(0, self.width)
        seen[:, 1::2] = seen[:, 1::2].clamp(0, self.height)
        kept = _areas(seen) >= _LEAST_SEEN * _areas(boxes)
        kept &= (seen[:, 2:] - seen[:, :2] >= 1).all(1)
        if self.mirrored:
            seen[:, [0, 2]] = self.width - seen[:, [2, 0]]
        return {"boxes": seen[kept], "labels": whole["labels"][kept]}


def drawn(image: Any, augment: Augment, smallest_crop: float) -> View:
    """A view of a PIL image from torch's global generator.

    It covers ``smallest_crop`` … 1 of the area with sides 3:4 … 4:3, and is mirrored half of the time.
    """
    if augment == "none":
        return View(0, 0, image.height, image.width, mirrored=False)
    from torchvision.transforms import v2

    top, left, height, width = v2.RandomResizedCrop.get_params(image, (smallest_crop, 1.0), _RATIOS)
    mirrored = bool(torch.rand(1) < (0.5 if augment == "crop-flip" else 0.0))
    return View(top, left, height, width, mirrored)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
