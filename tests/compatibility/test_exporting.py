"""What the matrix says about an export."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compatibility.exporting import exported
from compatibility.stages import LeftOut
from compatibility.witness import ran
from convsurgeon.base.errors import ModelRunError

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


def test_what_the_original_can_t_either_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that fails for the converted network alone is a failure; one that fails for both is left out."""
    inputs = (torch.rand(1, 4096),)
    original, converted = Wave(1.0).eval(), Wave(2.0).eval()

    def fails_for(*networks: nn.Module) -> None:
        def export(model: nn.Module, *_: object, **__: object) -> object:
            if model in networks:
                raise ModelRunError("its outputs differ by 5.0e-01")
            return object()

        monkeypatch.setattr("compatibility.exporting.to_onnx", export)

    fails_for(converted)
    with pytest.raises(ModelRunError):
        exported("timm", converted, original, inputs, ran(converted, inputs))
    fails_for(converted, original)
    with pytest.raises(LeftOut, match="the original can't be exported either"):
        exported("timm", converted, original, inputs, ran(converted, inputs))
