"""A small set in COCO's layout: digits of many sizes and colours on textured backgrounds, images of varying size.

    python -m benchmarks.detection.scenes DIR

The digits are those that ship with the package; the 360 that it keeps for accuracy appear in ``val2017`` alone.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convsurgeon.demo.data import Digits, digits

TRAIN_SCENES, TEST_SCENES = 2400, 250
SIDES = range(64, 97, 8)
DIGIT_SIDES = (14, 32)
MOST_DIGITS = 3
LARGEST_OVERLAP = 0.15
SEED = 0

Box = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass(frozen=True)
class Scene:
    """An image [3, H, W] in 0…1, and what is on it."""

    image: Tensor
    boxes: list[Box]
    labels: list[int]


def texture(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Noise at three scales in random colours, [3, H, W] in 0…1."""
    out = torch.rand(3, 1, 1, generator=generator).expand(3, height, width).clone()
    for cells, strength in ((3, 0.5), (12, 0.3), (height // 2, 0.15)):
        noise = torch.rand(1, 3, cells, cells, generator=generator) - 0.5
        out += strength * F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)[0]
    return out.clamp(0, 1)


def scene(source: Digits, number: int, seed: int) -> Scene:
    """The scene of this number; the same whenever it is asked for."""
    chance = random.Random(f"{seed}/{number}")
    generator = torch.Generator().manual_seed(chance.randrange(2**31))
    height, width = chance.choice(SIDES), chance.choice(SIDES)
    image, boxes, labels = texture(height, width, generator), [], []
    for _ in range(chance.randint(1, MOST_DIGITS)):
        at = chance.randrange(len(source.images))
        box = _pasted(image, source.images[at, 0], boxes, chance)
        if box is not None:
            boxes.append(box)
            labels.append(int(source.labels[at]))
    return Scene(image, boxes, labels)


def _pasted(image: Tensor, digit: Tensor, others: list[Box], chance: random.Random) -> Box | None:
    """Where a digit [8, 8] was drawn into the image; None where the place drawn was taken."""
    height, width = image.shape[1:]
    side = chance.randint(*DIGIT_SIDES)
    ink = F.interpolate(digit[None, None], (side, side), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)
    rows, columns = (ink.amax(axis) > 0.3 for axis in (1, 0))
    ink = ink[rows.nonzero().min() : rows.nonzero().max() + 1, columns.nonzero().min() : columns.nonzero().max() + 1]
    h, w = ink.shape
    left, top = chance.randrange(width - w), chance.randrange(height - h)
    if any(overlap((left, top, w, h), other) > LARGEST_OVERLAP for other in others):
        return None
    place = image[:, top : top + h, left : left + w]
    behind = float(place.mean())
    # As far from what is behind it as a colour can be told, on either side.
    colour = torch.tensor([chance.uniform(0.0, 0.5) for _ in range(3)]) + (0.5 if behind < 0.5 else 0.0)
    place.lerp_(colour[:, None, None].expand_as(place), ink.expand_as(place))
    return left, top, w, h


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def write_split(folder: Path, name: str, source: Digits, count: int, seed: int) -> None:
    """``NAME/*.png`` and ``annotations/instances_NAME.json``, the file of annotations last."""
    images, annotations = [], []
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        made = scene(source, number, seed)
        file = f"{number:06}.png"
        pixels = (made.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name / file)
        height, width = pixels.shape[:2]
        images.append({"id": number, "file_name": file, "height": height, "width": width})
        for box, label in zip(made.boxes, made.labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    # 0 is the background of torchvision's two-stage detectors.
                    "category_id": label + 1,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    about = {"images": images, "annotations": annotations, "categories": categories}
    path = folder / "annotations" / f"instances_{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(about))


def write_scenes(folder: Path) -> None:
    """Both splits, where they are not there yet."""
    train, test = digits()
    splits = (("train2017", train, TRAIN_SCENES, SEED), ("val2017", test, TEST_SCENES, SEED + 1))
    for name, source, count, seed in splits:
        if not (folder / "annotations" / f"instances_{name}.json").is_file():
            write_split(folder, name, source, count, seed)


if __name__ == "__main__":
    write_scenes(Path(sys.argv[1]))
