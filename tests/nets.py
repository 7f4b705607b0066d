"""Small networks that are awkward on purpose, and an outside count of their cost."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vgg16_bn

IMAGE = (1, 3, 16, 16)


def outside_macs(model: nn.Module, *args: Any, **kwargs: Any) -> int:
    """MACs of one forward in eval mode as PyTorch's own counter sees them (FlopCounterMode / 2)."""
    modes = [(module, module.training) for module in model.modules()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.eval()(*args, **kwargs)
    for module, mode in modes:
        module.training = mode
    return counter.get_total_flops() // 2


def conv_bn(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class Plain(nn.Module):
    """A stem, two wide convolutions, a linear head: [N, 3, H, W] → [N, 10]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = conv_bn(3, width)
        self.body = conv_bn(width, width)
        self.last = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 10]."""
        return self.head(self.last(self.body(self.stem(image))).mean((2, 3)))


class Residual(nn.Module):
    """One residual block with a 1×1 shortcut between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32)
        self.conv1 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.shortcut = nn.Sequential(nn.Conv2d(32, 64, 1, stride=2, bias=False), nn.BatchNorm2d(64))
        self.gate = nn.Conv2d(64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 64, H/2, W/2]."""
        x = self.stem(x)
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out = F.relu(out + self.shortcut(x))
        return out * torch.sigmoid(self.gate(out))


class Shared(nn.Module):
    """One convolution module at two paths, called three times on maps of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.near = nn.Conv2d(64, 64, 3, padding=1)
        self.far = nn.ModuleDict({"again": self.near})

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 64, H/2, W/2]."""
        x = self.near(self.far["again"](self.stem(x)))
        return self.near(F.max_pool2d(x, 2))


class Untraceable(nn.Module):
    """Its forward branches on values, so no trace of the whole exists; its block traces."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, padding=1)
        self.block = Residual64()

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 64, H, W]."""
        x = self.first(x)
        return self.block(x) if float(x.sum()) < 1e30 else x


class Residual64(nn.Module):
    """A residual block of 64 channels with a 1×1 shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.shortcut = nn.Conv2d(64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 64, H, W] → [N, 64, H, W]."""
        return self.conv2(F.relu(self.conv1(x))) + self.shortcut(x)


class Opaque(nn.Module):
    """Every convolution is called from one forward that no trace survives."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, padding=1)
        self.second = nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 64, H, W]."""
        x = self.first(x)
        for _ in range(int(x.shape[-1] > 4) + int(x.mean() < 1e30)):
            x = self.second(x)
        return x


class Stage(nn.Module):
    """A block whose norm and activation have the same names as those of `Sized`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, 8, H, W] → [N, 8, H, W]."""
        return self.act(self.bn(self.conv(x)))


class Sized(nn.Module):
    """Two stages behind a stem; ``checked`` looks at the size of its input, which no whole trace survives."""

    def __init__(self, checked: bool) -> None:
        super().__init__()
        self.checked = checked
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.one, self.two = Stage(), nn.Sequential(Stage(), Stage())
        self.again = self.two[0]

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 8, H, W]."""
        if self.checked and x.shape[-1] % 4:
            raise ValueError("expected a width divisible by 4")
        return self.two(self.one(self.act(self.bn(self.conv(x)))))


def vgg16_bn_for_small_images(bias: bool = True) -> nn.Module:
    """VGG-16-BN for 32×32 inputs: torchvision's features and one 512→10 classifier."""
    features = vgg16_bn(weights=None).features
    if not bias:
        for conv in features:
            if isinstance(conv, nn.Conv2d):
                conv.bias = None
    return nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))
