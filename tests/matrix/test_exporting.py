"""What the matrix says about an export."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.matrix.exporting import exported
from benchmarks.matrix.stages import LeftOut
from benchmarks.matrix.witness import ran

pytest.importorskip("onnxscript")


class Wave(nn.Module):
    """sin(rate · sums of x): with a high rate, rounding decides about the output."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.sums = nn.Linear(4096, 64)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """[N, 4096] → [N, 64]."""
        return torch.sin(self.rate * self.sums(x))


def test_a_network_that_jumps_by_itself_is_left_out() -> None:
    """Where rounding of the inputs changes the network's own outputs, equality can't be judged; else it is."""
    inputs = (torch.rand(1, 4096, generator=torch.Generator().manual_seed(0)),)
    calm, wild = Wave(1.0).eval(), Wave(1e8).eval()
    exported("timm", calm, calm, inputs, ran(calm, inputs))
    with pytest.raises(LeftOut, match="the network itself jumps"):
        exported("timm", wild, calm, inputs, ran(wild, inputs))
