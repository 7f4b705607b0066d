"""Which layers lose most in int8: each is rounded alone, and the network's outputs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress
from convsurgeon.deployment.quantising.rounding import RoundedNetwork
from convsurgeon.runtimes.closeness import as_tensors

__all__ = ["LayerLoss", "layer_losses"]

_TINY = 1e-30


@dataclass(frozen=True)
class LayerLoss:
    """What one layer alone in int8 does to the network's outputs: ‖o − ô‖² / ‖o − mean(o)‖² over all of them."""

    name: str
    output_error: float


def layer_losses(rounding: RoundedNetwork, batches: Sequence[Inputs], progress: Progress) -> tuple[LayerLoss, ...]:
    """Every layer, the one that loses most first; one run of the network over the batches for each.

    An imitation: a runtime's own ranges, and the layers that it computes as one, may weigh a little otherwise.
    """
    with torch.no_grad():
        wanted = _outputs(rounding, batches)
        spread = float((wanted - wanted.mean()).square().sum())
        losses = []
        for done, name in enumerate(rounding.layers):
            progress("weighing layers", done, len(rounding.layers), name)
            with rounding.rounding([name]):
                error = float((_outputs(rounding, batches) - wanted).square().sum())
            losses.append(LayerLoss(name, error / max(spread, _TINY)))
    progress("weighing layers", len(rounding.layers), len(rounding.layers), "")
    return tuple(sorted(losses, key=lambda loss: loss.output_error, reverse=True))


def _outputs(rounding: RoundedNetwork, batches: Sequence[Inputs]) -> torch.Tensor:
    """All floating-point outputs as one row of numbers."""
    outputs = (output for inputs in batches for output in as_tensors(inputs.call(rounding.network)))
    parts = [output.flatten().double() for output in outputs if output.is_floating_point()]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
