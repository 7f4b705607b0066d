"""Photographs that come with a Debian package: animals, tools, buildings, landscapes and musicians of GCompris.

apt-get install gcompris-qt-data

About 250 photographs of 160 to 1920 pixels, WebP files inside the package's Qt resource files.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor

__all__ = ["crops", "photographs"]

FOLDER = Path("/usr/share/gcompris-qt/rcc")
ALBUMS = (
    "categorization",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "explore_world_music",
)
SMALLEST = 160
# Two thumbnails of one photograph correlate by 0.99 and more, those of two of one building by less than 0.9.
SAME = 0.95


def photographs() -> list[Image.Image]:
    """Each photograph once, in a seeded order; raises FileNotFoundError where the package is not installed."""
    found: list[Image.Image] = []
    seen: list[Tensor] = []
    for image in _images():
        thumbnail = _thumbnail(image)
        if all(torch.dot(thumbnail, other) < SAME for other in seen):
            found.append(image)
            seen.append(thumbnail)
    random.Random(0).shuffle(found)
    return found


def _images() -> Iterator[Image.Image]:
    for album in ALBUMS:
        resources = (FOLDER / f"{album}.rcc").read_bytes()
        for start in re.finditer(rb"RIFF(....)WEBP", resources, re.DOTALL):
            length = 8 + int.from_bytes(start[1], "little")
            image = Image.open(io.BytesIO(resources[start.start() : start.start() + length]))
            # Drawings have transparent parts.
            if image.mode == "RGB" and min(image.size) >= SMALLEST:
                yield image


def _thumbnail(image: Image.Image) -> Tensor:
    grey = torch.from_numpy(numpy.array(image.convert("L").resize((16, 16)), dtype=numpy.float32)).flatten()
    return torch.nn.functional.normalize(grey - grey.mean(), dim=0)


def crops(images: Sequence[Image.Image], size: int, each: int = 1, seed: int = 0) -> Tensor:
    """[N, 3, size, size] of values from 0 to 255: ``each`` square of every image, the first the whole middle."""
    draw = random.Random(seed)
    squares = [square for image in images for square in _squares(image, each, draw)]
    pixels = [numpy.array(square.resize((size, size), Image.Resampling.BICUBIC)) for square in squares]
    return torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2).float()


def _squares(image: Image.Image, each: int, draw: random.Random) -> Iterator[Image.Image]:
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    for _ in range(each):
        yield image.crop((left, top, left + side, top + side))
        side = round(min(width, height) * draw.uniform(0.5, 1.0))
        left, top = draw.randint(0, width - side), draw.randint(0, height - side)
