"""What is on images, from a file of annotations in COCO's format (Lin et al., arXiv 1405.0312)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError
from torch import Tensor

from convsurgeon.base.errors import RecipeError, UnknownName
from convsurgeon.base.reading import read_text
from convsurgeon.base.records import mistakes

__all__ = ["Annotations"]

# Shorter sides hold no pixel, and detectors refuse them.
_SHORTEST = 1.0
_MISTAKES_SHOWN = 3


class _Row(BaseModel):
    """Of the file's many fields these are read; boxes are left, top, width and height in pixels."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Image(_Row):
    id: int
    file_name: str


class _Annotation(_Row):
    image_id: int
    category_id: NonNegativeInt
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: int = 0


class _File(_Row):
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]


@dataclass(frozen=True)
class Annotations:
    """What is on the images of a file: few large tensors, since they go to every process that reads images."""

    boxes: Tensor
    labels: Tensor
    rows: Mapping[str, range]

    @classmethod
    def read(cls, path: Path) -> Annotations:
        """From COCO's JSON. Crowds, and boxes without a pixel, are left out.

        Raises:
            UnknownName: no such file.
            RecipeError: it is no file of annotations.
        """
        if not path.is_file():
            raise UnknownName(
                f"no file of annotations at '{path}'; expected COCO's JSON, e.g. instances_train2017.json."
            )
        try:
            content = _File.model_validate_json(read_text(path))
        except ValidationError as error:
            found = "\n".join(mistakes(error).split("\n")[:_MISTAKES_SHOWN])
            raise RecipeError(f"{path} is no file of annotations in COCO's format:\n{found}") from error
        of_image: dict[int, list[_Annotation]] = defaultdict(list)
        for row in content.annotations:
            if not row.iscrowd and min(row.bbox[2:]) >= _SHORTEST:
                of_image[row.image_id].append(row)
        flat: list[_Annotation] = []
        rows = {}
        for image in content.images:
            rows[image.file_name] = range(len(flat), len(flat) + len(of_image[image.id]))
            flat += of_image[image.id]
        boxes = torch.tensor([row.bbox for row in flat], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return cls(boxes, torch.tensor([row.category_id for row in flat], dtype=torch.int64), rows)

    def of(self, name: str) -> dict[str, Tensor]:
        """Of an image by its file's name: boxes [n, 4] (left, top, right, bottom in pixels) and labels [n].

        Labels are the file's category numbers, as torchvision's detectors count.
        """
        rows = slice(self.rows[name].start, self.rows[name].stop)
        return {"boxes": self.boxes[rows], "labels": self.labels[rows]}
