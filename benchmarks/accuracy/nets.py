"""The networks of the accuracy benchmark, for 28×28 grey images and ten classes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torchvision import models

# VGG-11 without its fifth stage: 28 pixels are too few for it. The stages see 28, 14, 7 and 3 pixels.
_VGG_STAGES = ((32,), (64,), (128, 128), (256, 256))


def resnet18() -> nn.Module:
    """torchvision's ResNet-18 for [N, 1, 28, 28] → [N, 10].

    Stem of one 3×3 stride-2 convolution and no max-pool, so the stages see 14, 7, 4 and 2 pixels a side.
    """
    net: nn.Module = models.resnet18(num_classes=10)
    stem = nn.Conv2d(1, 64, kernel_size=3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    net.conv1 = stem
    net.maxpool = nn.Identity()
    return net


class Vgg(nn.Module):
    """VGG-11 at half width with batch norm, four stages, one linear classifier: [N, 1, 28, 28] → [N, 10].

    Simonyan & Zisserman, arXiv 1409.1556, configuration A.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for index, widths in enumerate(_VGG_STAGES):
            if index:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                conv = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, 28, 28] → logits [N, 10]."""
        features: Tensor = self.avgpool(self.features(images))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


def vgg() -> nn.Module:
    """The VGG-style network, see `Vgg`."""
    return Vgg()


NETS: dict[str, Callable[[], nn.Module]] = {"resnet18": resnet18, "vgg": vgg}


def build(name: str) -> nn.Module:
    """A freshly initialised network by name. Raises ValueError for a name that is not in `NETS`."""
    if name not in NETS:
        raise ValueError(f"no network called {name!r}: choose one of {', '.join(sorted(NETS))}")
    return NETS[name]()
