"""What changes inside of a network do to what comes out of it.

Errors of one size at two layers are not one damage: what a narrowed stream loses are whole features, of which the
outputs show three to ten times as much as of the small, noise-like rest that a low-rank unit leaves. So choices of both
kinds are compared by the error that they leave in the network's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.transfer.agreement import outputs_of

__all__ = ["AtOutputs", "instead_of"]

# Of a layer's variance: small enough for the network to answer in proportion.
NOISE = 0.02

# By a layer's name: the weight [C_out, D] that it has for a while, and what its output shifts by [C_out].
Changes = Mapping[str, tuple[Tensor, Tensor]]


class AtOutputs:
    """The original's outputs on a few inputs, and how far changed copies are from them."""

    def __init__(self, reference: nn.Module, batches: Iterable[Inputs]) -> None:
        self._work = duplicate(reference).eval()
        self._batches = list(batches)
        self._wanted = [outputs_of(inputs.call(self._work)) for inputs in self._batches]
        self._spread = sum(map(_spread, zip(*self._wanted, strict=False)))

    @property
    def comparable(self) -> bool:
        """Whether there are outputs of a floating type, and they vary."""
        return 0 < self._spread < math.inf

    def with_weights(self, changes: Changes) -> float | None:
        """Relative error of the outputs with other weights in some layers; None where their shapes change, too."""
        with instead_of(self._work, changes):
            return self.of(self._work)

    def with_noise(self, name: str) -> float | None:
        """Relative error of the outputs for each unit of relative error at one layer's output.

        The noise is the layer's own output with channels and images exchanged, so that it is as smooth over an image as
        the errors of units are: pooling would average away noise that is new at each position.
        """
        generator = torch.Generator().manual_seed(0)

        def noisy(_module: nn.Module, _args: Any, y: Tensor) -> Tensor:
            away = y - y.mean(dim=[0, *range(2, y.dim())], keepdim=True)
            images, channels = (torch.randperm(count, generator=generator).to(y.device) for count in y.shape[:2])
            return y + math.sqrt(NOISE) * away[images][:, channels]

        handle = self._work.get_submodule(name).register_forward_hook(noisy)
        try:
            error = self.of(self._work)
        finally:
            handle.remove()
        return None if error is None else error / NOISE

    def of(self, network: nn.Module) -> float | None:
        """Relative error of the outputs of a network in eval mode; None where they have other shapes."""
        total = 0.0
        for inputs, wanted in zip(self._batches, self._wanted, strict=True):
            found = outputs_of(inputs.call(network))
            if [leaf.shape for leaf in found] != [leaf.shape for leaf in wanted]:
                return None
            total += sum(float((a - b).double().square().sum()) for a, b in zip(found, wanted, strict=True))
        return total / self._spread if math.isfinite(total) else None


@contextmanager
def instead_of(model: nn.Module, changes: Changes) -> Iterator[None]:
    """Within, the layers have these weights, and their outputs are shifted."""
    handles, before = [], {}
    for name, (weight, shift) in changes.items():
        module: Any = model.get_submodule(name)
        before[name] = module.weight.data
        module.weight.data = weight.to(module.weight).view_as(module.weight)
        handles.append(module.register_forward_hook(_shifting(shift)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, weight in before.items():
            model.get_submodule(name).weight.data = weight


def _spread(batches: Iterable[Tensor]) -> float:
    """Around the mean, of one of the outputs in all batches."""
    values = torch.cat([batch.double().flatten() for batch in batches])
    return float((values - values.mean()).square().sum()) if len(values) else 0.0


def _shifting(shift: Tensor) -> Any:
    def add(module: nn.Module, _args: Any, y: Tensor) -> Tensor:
        behind = 0 if isinstance(module, nn.Linear) else y.dim() - 2
        return y + shift.to(y).view(-1, *(1,) * behind)

    return add
