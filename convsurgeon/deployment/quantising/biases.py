"""Biases that take up what rounding does to a layer's mean output.

Rounding errors of weights do not cancel over inputs that are all positive, as they are behind a ReLU: each channel's
output is off by a constant, which its bias takes back (Nagel et al. 2019, arXiv 1906.04721, section 4.2). The constant
is measured layer by layer on the float network's own inputs: one pass for all layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import observed
from convsurgeon.deployment.quantising.rounding import RoundedLayer, RoundedNetwork

__all__ = ["bias_shifts", "shifted"]


def bias_shifts(rounding: RoundedNetwork, batches: Iterable[Inputs]) -> dict[str, Tensor]:
    """For each layer that runs, by name, what its bias has to take back when it is rounded, for each output channel."""
    sums = {name: _Gap(layer) for name, layer in rounding.layers.items()}
    with torch.no_grad(), observed(after=[(gap.layer.layer, gap.see) for gap in sums.values()]):
        for inputs in batches:
            inputs.call(rounding.network)
    return {name: (gap.total / gap.count).float() for name, gap in sums.items() if gap.count}


def shifted(network: nn.Module, shifts: Mapping[str, Tensor]) -> nn.Module:
    """A copy in which the biases of the named layers have taken up their shifts."""
    copy = duplicate(network).eval()
    for name, shift in shifts.items():
        layer = copy.get_submodule(name)
        bias = layer.bias
        assert bias is None or isinstance(bias, Tensor)
        layer.bias = nn.Parameter(shift if bias is None else bias.detach() + shift, requires_grad=False)
    return copy


@dataclass
class _Gap:
    """How far rounding moves a layer's outputs [N, C, …] or [N, …, C], summed for each channel."""

    layer: RoundedLayer
    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))

    def see(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> None:
        axis = -1 if isinstance(self.layer.layer, nn.Linear) else 1
        gap = (output - self.layer.rounded(*args, **kwargs)).movedim(axis, 0).flatten(1).double()
        self.total = self.total + gap.sum(1)
        self.count += gap.shape[1]
