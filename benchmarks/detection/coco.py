"""COCO's standard layout: DIR/SPLIT/*.jpg and DIR/annotations/instances_SPLIT.json."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.ops import box_convert

Pair = tuple[list[Tensor], list[dict[str, Tensor]]]


@dataclass(frozen=True)
class Split:
    """One split, read from disk as it is used."""

    folder: Path
    annotations: Path
    images: list[dict[str, Any]]
    targets: dict[int, dict[str, Tensor]]

    @classmethod
    def of(cls, root: Path, name: str, limit: int | None = None) -> Split:
        """The split of this name, its first ``limit`` images."""
        path = root / "annotations" / f"instances_{name}.json"
        about = json.loads(path.read_text())
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in about["annotations"]:
            if not row["iscrowd"]:
                found[row["image_id"]].append(row)
        images = sorted(about["images"], key=lambda image: image["id"])[:limit]
        return cls(root / name, path, images, {image["id"]: _target(found[image["id"]]) for image in images})

    def read(self, at: int) -> tuple[Tensor, dict[str, Tensor]]:
        """An image [3, H, W] in 0…1, its boxes [n, 4] (left, top, right, bottom in pixels) and labels [n]."""
        about = self.images[at]
        image = decode_image(str(self.folder / about["file_name"]), ImageReadMode.RGB).float() / 255
        return image, self.targets[about["id"]]

    def __len__(self) -> int:
        return len(self.images)


def _target(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float32).reshape(-1, 4)
    # Boxes without any width or height have nothing that could be found.
    whole = (boxes[:, 2:] > 1).all(1)
    labels = torch.tensor([row["category_id"] for row in rows], dtype=torch.int64)
    return {"boxes": box_convert(boxes, "xywh", "xyxy")[whole], "labels": labels[whole]}


class Batches:
    """Batches (images, targets) in a new order every epoch, which ``seed`` decides."""

    def __init__(self, split: Split, size: int, seed: int) -> None:
        self._split, self._size, self._seed, self._epoch = split, size, seed, 0

    def set_epoch(self, number: int) -> None:
        """Choose the order."""
        self._epoch = number

    def __len__(self) -> int:
        return len(self._split) // self._size

    def __iter__(self) -> Iterator[Pair]:
        generator = torch.Generator().manual_seed(1000 * self._seed + self._epoch)
        order = torch.randperm(len(self._split), generator=generator).tolist()
        for at in range(len(self)):
            pairs = [self._split.read(i) for i in order[at * self._size : (at + 1) * self._size]]
            yield [image for image, _ in pairs], [target for _, target in pairs]


@torch.no_grad()
def average_precision(model: nn.Module, split: Split) -> float:
    """COCO's mAP over IoU 0.50:0.95 in percent, of a detector in eval mode, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows, device = [], next(model.parameters()).device
    for at, about in enumerate(split.images):
        (found,) = model([split.read(at)[0].to(device)])
        boxes = box_convert(found["boxes"], "xyxy", "xywh").tolist()
        for box, score, label in zip(boxes, found["scores"].tolist(), found["labels"].tolist(), strict=True):
            rows.append({"image_id": about["id"], "category_id": label, "bbox": box, "score": score})
    if not rows:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(split.annotations))
        judged = COCOeval(truth, truth.loadRes(rows), "bbox")
        judged.params.imgIds = [about["id"] for about in split.images]
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return 100 * float(judged.stats[0])
