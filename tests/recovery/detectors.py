"""Tiny detectors of torchvision's kinds, images of varying size, and what is on them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

CLASSES = 3
SIZES = ((40, 32), (32, 48), (36, 36), (48, 40))
SIDES: dict[str, Any] = {"min_size": 32, "max_size": 48}


class Backbone(nn.Module):
    """[N, 3, H, W] → 8 channels at strides 4 and 8."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Two maps by name."""
        y = self.body(self.stem(x))
        return OrderedDict([("0", y), ("1", self.down(y))])


def dense() -> nn.Module:
    """Answers at every position."""
    torch.manual_seed(0)
    anchors = AnchorGenerator(sizes=((8,), (16,)), aspect_ratios=((1.0,),) * 2)
    net = RetinaNet(Backbone(), CLASSES, anchor_generator=anchors, **SIDES).eval()
    for parameter in net.head.parameters():
        # As torchvision makes them, fresh heads answer the same everywhere.
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
    return net


def two_stage() -> nn.Module:
    """Chooses regions, then boxes in them, then masks in those."""
    torch.manual_seed(0)
    pools = [MultiScaleRoIAlign(featmap_names=["0", "1"], output_size=size, sampling_ratio=1) for size in (3, 4)]
    return MaskRCNN(
        Backbone(),
        rpn_anchor_generator=AnchorGenerator(sizes=((8,), (16,)), aspect_ratios=((1.0,),) * 2),
        box_roi_pool=pools[0],
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.ReLU()),
        box_predictor=FastRCNNPredictor(16, CLASSES),
        box_score_thresh=0.0,
        mask_roi_pool=pools[1],
        mask_head=MaskRCNNHeads(8, (8,), 1),
        mask_predictor=MaskRCNNPredictor(8, 8, CLASSES),
        rpn_post_nms_top_n_test=12,
        rpn_post_nms_top_n_train=12,
        box_detections_per_img=6,
        **SIDES,
    ).eval()


DETECTORS = {"dense": dense, "two-stage": two_stage}


def images(count: int = 4, seed: int = 0) -> list[Tensor]:
    """Images [3, H, W] of four sizes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *SIZES[at % len(SIZES)], generator=generator) for at in range(count)]


def targets(count: int = 4) -> list[dict[str, Tensor]]:
    """One box on each image, and its mask."""
    masks = [torch.zeros(1, *SIZES[at % len(SIZES)], dtype=torch.uint8) for at in range(count)]
    for mask in masks:
        mask[:, 8:20, 4:18] = 1
    box, label = torch.tensor([[4.0, 8.0, 18.0, 20.0]]), torch.tensor([1])
    return [{"boxes": box, "labels": label, "masks": mask} for mask in masks]
