"""Small detectors of torchvision's own kinds, for images of about 96×128: a dense one, and one of two stages."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork, MultiScaleRoIAlign

CLASSES = 11  # ten digits, and 0 for the background
WIDTHS = (16, 32, 64, 96)
SIDES = {"min_size": 64, "max_size": 96}


class Backbone(nn.Module):
    """[N, 3, H, W] → 48 channels at strides 8 and 16, behind a pyramid of features."""

    out_channels = 48

    def __init__(self) -> None:
        super().__init__()
        stem, one, two, three = WIDTHS
        self.stem = Conv2dNormActivation(3, stem, 3, stride=2)
        self.low = nn.Sequential(Conv2dNormActivation(stem, one, 3, stride=2), Conv2dNormActivation(one, one, 3))
        self.middle = nn.Sequential(Conv2dNormActivation(one, two, 3, stride=2), Conv2dNormActivation(two, two, 3))
        self.high = nn.Sequential(Conv2dNormActivation(two, three, 3, stride=2), Conv2dNormActivation(three, three, 3))
        self.pyramid = FeaturePyramidNetwork([two, three], self.out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The two maps by name."""
        middle = self.middle(self.low(self.stem(images)))
        return self.pyramid(OrderedDict([("0", middle), ("1", self.high(middle))]))


def detector() -> nn.Module:
    """Faster R-CNN (Ren et al., arXiv 1506.01497): regions that might hold something, then what each of them is."""
    anchors = AnchorGenerator(sizes=((14, 20), (26, 34)), aspect_ratios=((0.6, 1.0),) * 2)
    regions = MultiScaleRoIAlign(featmap_names=["0", "1"], output_size=5, sampling_ratio=1)
    return FasterRCNN(
        Backbone(),
        rpn_anchor_generator=anchors,
        box_roi_pool=regions,
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(Backbone.out_channels * 25, 256), nn.ReLU()),
        box_predictor=FastRCNNPredictor(256, CLASSES),
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_test=20,
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=100,
        box_batch_size_per_image=32,
        **SIDES,
    )
