"""Tiny networks and data for the tests of recovery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon import Conversion, RecoverSettings

IMAGE = (1, 3, 8, 8)
CLASSES = 4


class Net(nn.Module):
    """Two convolutions with batch norm, dropout, a linear head: [N, 3, 8, 8] → [N, 4]."""

    def __init__(self, *, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.body = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 8, 8] → [N, 4]."""
        x = self.relu(self.bn1(self.stem(x)))
        return self.head(self.drop(self.relu(self.bn2(self.body(x)))).mean((2, 3)))


def original(*, norm: bool = True) -> Net:
    """The network with statistics that differ from a fresh one's."""
    torch.manual_seed(1)
    net = Net(norm=norm)
    with torch.no_grad():
        for _ in range(40):
            net(torch.randn(32, 3, 8, 8))
    return net.eval()


def converted(net: nn.Module, method: str = "compconv32") -> Conversion:
    """Its body as a compact convolution, without calibration, so that there is something to recover."""
    return convsurgeon.convert(net, torch.zeros(IMAGE), method=method)


def batches(count: int = 4, size: int = 8, *, labels: bool = False) -> list[Tensor | tuple[Tensor, Tensor]]:
    """The same random batches whenever called."""
    generator = torch.Generator().manual_seed(7)
    inputs = [torch.randn(size, 3, 8, 8, generator=generator) for _ in range(count)]
    if not labels:
        return list(inputs)
    return [(x, torch.randint(CLASSES, (size,), generator=generator)) for x in inputs]


@dataclass
class Shuffled:
    """Inputs in a new order every epoch, drawn from the global generator, with noise as augmentation."""

    size: int = 4

    def __len__(self) -> int:
        return 16 // self.size

    def __iter__(self) -> Iterator[Tensor]:
        everything = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
        for chosen in torch.randperm(16).split(self.size):
            yield everything[chosen] + 0.1 * torch.randn(self.size, 3, 8, 8)


def settings(**changes: object) -> RecoverSettings:
    """A short run."""
    return RecoverSettings.model_validate({"steps": 10, "checkpoint_every": 1, **changes})


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether every parameter and buffer has the same bits."""
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
