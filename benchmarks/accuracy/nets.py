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


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a strided 1×1 where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.relu, self.shortcut = nn.ReLU(inplace=True), nn.Sequential()
        if (channels, stride) != (width, 1):
            conv = nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """x and its branch."""
        branch = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        summed: Tensor = self.relu(branch + self.shortcut(x))
        return summed


class Deep(nn.Module):
    """CIFAR's ResNet-56 with a stem of stride 2, so that its stages see 14, 7 and 4 pixels: [N, 1, 28, 28] → [N, 10].

    He, Zhang, Ren, Sun, arXiv 1512.03385, section 4.2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        widths = [16] * 9 + [32] * 9 + [64] * 9
        ends = zip((16, *widths[:-1]), widths, strict=True)
        self.blocks = nn.Sequential(*(Block(before, width, width // before) for before, width in ends))
        self.classifier = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, 28, 28] → logits [N, 10]."""
        logits: Tensor = self.classifier(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


def deep() -> nn.Module:
    """The network of many residual blocks, see `Deep`."""
    return Deep()


def vgg() -> nn.Module:
    """The VGG-style network, see `Vgg`."""
    return Vgg()


NETS: dict[str, Callable[[], nn.Module]] = {"deep": deep, "resnet18": resnet18, "vgg": vgg}


def build(name: str) -> nn.Module:
    """A freshly initialised network by name. Raises ValueError for a name that is not in `NETS`."""
    if name not in NETS:
        raise ValueError(f"no network called {name!r}: choose one of {', '.join(sorted(NETS))}")
    return NETS[name]()
