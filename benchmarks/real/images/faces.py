"""The three networks of facenet-pytorch's face detector MTCNN (Zhang et al., 2016, arXiv 1604.02878), each by itself.

apt-get install gcompris-qt-data visp-images-data    # photographs; the Solvay Conference of 1927, 29 people
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.real.images.photographs import photographs
from benchmarks.real.subject import Case, Subject

__all__ = ["face_net"]

GROUP = Path("/usr/share/visp-images-data/ViSP-images/Solvay/Solvay_conference_1927_Version2_1280x881.jpg")
WIDTHS = (1280, 1000)
TURNS = (-8, 0, 8)
# Photographs with faces of others put in, to calibrate on.
FITTING, SIDE, FACES = 8, 480, 100
SAME_BOX = 0.5
NEXT = {"pnet": "rnet", "rnet": "onet"}


def face_net(stage: str) -> Subject:
    """``pnet`` proposes boxes, ``rnet`` refines them, ``onet`` decides; the other two stay the originals."""
    return Subject(
        title=f"MTCNN's {stage[0].upper()}-Net",
        packages=("facenet-pytorch", "scikit-image"),
        measures={"found": "faces found", "right": "boxes with a face"}
        | ({"passed": "windows passed on, of the original's"} if stage in NEXT else {}),
        build=partial(_build, stage),
    )


def _build(stage: str) -> Case:
    from facenet_pytorch import MTCNN

    torch.manual_seed(0)
    detector = MTCNN(keep_all=True)
    views = _views()
    with _reading(getattr(detector, stage)) as calibration:
        _boxes(detector, _composed())
    behind = getattr(detector, NEXT.get(stage, stage))
    with _reading(getattr(detector, stage)) as judging, _reading(behind) as usual:
        wanted = _boxes(detector, views)

    def measures(outputs: Sequence[Any]) -> dict[str, float]:
        with _answering(getattr(detector, stage), outputs), _reading(behind) as passed:
            agreement = _agreement(wanted, _boxes(detector, views))
        # A network that lets everything pass has every face found by those behind it, at their cost.
        return agreement | ({"passed": sum(map(len, passed)) / sum(map(len, usual))} if stage in NEXT else {})

    model = getattr(detector, stage)
    last = [name for name, module in model.named_modules() if name.startswith(("conv4_", "dense5_", "dense6_"))]
    return Case(model, judging[0][:1], calibration, judging, measures, whole=tuple(last))


def _views() -> list[Image.Image]:
    with Image.open(GROUP) as group:
        sizes = [group.convert("RGB").resize((width, group.height * width // group.width)) for width in WIDTHS]
    return [picture.rotate(turn, Image.Resampling.BICUBIC) for picture in sizes for turn in TURNS]


def _composed() -> list[Image.Image]:
    from skimage.data import lfw_subset

    draw, faces = random.Random(0), lfw_subset()[:FACES]
    pictures = [image.convert("RGB").resize((SIDE, SIDE)) for image in photographs()[:FITTING]]
    for number, face in enumerate(faces):
        side = draw.randint(24, 120)
        grey = Image.fromarray((255 * face).astype(numpy.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        pictures[number % FITTING].paste(grey, (draw.randint(0, SIDE - side), draw.randint(0, SIDE - side)))
    return pictures


def _boxes(detector: Any, pictures: Sequence[Image.Image]) -> list[Tensor]:
    """Of each picture [N, 4]: left, top, right, bottom."""
    found = [detector.detect(picture)[0] for picture in pictures]
    return [torch.zeros(0, 4) if boxes is None else torch.as_tensor(boxes.astype(numpy.float32)) for boxes in found]


@contextmanager
def _reading(net: nn.Module) -> Iterator[list[Tensor]]:
    """What the network reads meanwhile."""
    read: list[Tensor] = []
    handle = net.register_forward_pre_hook(lambda _net, args: read.append(args[0].clone()))
    try:
        yield read
    finally:
        handle.remove()


@contextmanager
def _answering(net: nn.Module, outputs: Sequence[Any]) -> Iterator[None]:
    """Meanwhile the network answers with these, one after the other."""
    rest = iter(outputs)
    handle = net.register_forward_hook(lambda *_: next(rest))
    try:
        yield
    finally:
        handle.remove()


def _agreement(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> dict[str, float]:
    """Shares of the original's boxes that are found, and of the found ones that are the original's."""
    from torchvision.ops import box_iou

    same = [box_iou(ours, theirs) >= SAME_BOX for ours, theirs in zip(wanted, found, strict=True)]
    return {
        "found": sum(int(pairs.any(1).sum()) for pairs in same) / sum(map(len, wanted)),
        "right": sum(int(pairs.any(0).sum()) for pairs in same) / max(1, sum(map(len, found))),
    }
