"""Linear layers: what a forward gives them, and whose forward is torch's own."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsurgeon import inspect


class Named(nn.Linear):
    """Torch's linear layer by another name."""


class Doubled(nn.Linear):
    """Computes with twice its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return F.linear(x, self.weight * 2, self.bias)


class Twice(nn.Module):
    """A perceptron that runs on rows of two lengths: [N, 3, H, W] → [N, 5]."""

    def __init__(self, kind: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.conv, self.inside, self.back = nn.Conv2d(3, 8, 4, 4), kind(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        rows = self.conv(x).flatten(2).transpose(1, 2)
        return self.back(F.relu(self.inside(rows))).mean(1) + self.back(F.relu(self.inside(rows[:, :2]))).mean(1)


def test_rows_of_all_calls_count() -> None:
    """A layer that is called on nine rows and on two has eleven positions."""
    found = {linear.name: linear for linear in inspect(Twice(), torch.zeros(1, 3, 12, 12)).linears}
    assert found["inside"].positions == found["back"].positions == 11


@pytest.mark.parametrize(
    ("kind", "open_ones"), [(Named, ["conv", "before", "it", "behind"]), (Doubled, ["conv", "behind"])]
)
def test_only_torch_s_own_forward_is_followed(kind: type[nn.Linear], open_ones: list[str]) -> None:
    """A subclass is a linear layer unless it computes something else, which closes what it reads and writes."""
    front = {"conv": nn.Conv2d(3, 4, 1), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    back = {"before": nn.Linear(4, 8), "it": kind(8, 8), "behind": nn.Linear(8, 8), "last": nn.Linear(8, 2)}
    streams = inspect(nn.Sequential(OrderedDict(**front, **back)), torch.zeros(1, 3, 4, 4)).streams
    assert [stream.name for stream in streams if stream.closed is None] == open_ones
