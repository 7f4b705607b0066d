"""The demonstration's network: a small ResNet for 8×8 digits, trained by ``benchmarks/demo/train.py``."""

from __future__ import annotations

from importlib.resources import files

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

__all__ = ["WEIGHTS", "Block", "DigitNet", "trained"]

# Stored in half precision, which halves the package's largest file and costs no accuracy; used in single precision.
WEIGHTS = "digits-resnet.safetensors"


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut: [N, C_in, H, W] → [N, C_out, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H/stride, W/stride]."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class DigitNet(nn.Module):
    """Ten digits from 8×8 grey images scaled to 0…1: [N, 1, 8, 8] → logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.block1 = Block(64, 64)
        self.block2 = Block(64, 64)
        self.block3 = Block(64, 128, stride=2)
        self.head = nn.Linear(128, 10)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 1, 8, 8] → [N, 10]."""
        features = self.block3(self.block2(self.block1(self.stem(image))))
        return self.head(features.mean((2, 3)))


def trained() -> DigitNet:
    """The network with the weights that ship with the package, in eval mode."""
    state = load(files("convsurgeon.demo").joinpath(WEIGHTS).read_bytes())
    net = DigitNet()
    net.load_state_dict(
        {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
    )
    return net.eval()
