"""What a rule at one stream does to the layers that read it and to the network's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.selection.cases import Case
from benchmarks.selection.rules import Way
from convsurgeon.base.copies import duplicate
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.transfer.at_outputs import instead_of

__all__ = ["Found", "Judge"]


@dataclass(frozen=True)
class Found:
    """Relative errors of the outputs of the layers that read, summed, and of the network; classes changed: a share."""

    damage: float
    output_error: float
    changed: float


class Judge:
    """The original's outputs on test images, and what they become with other weights in some layers."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self._work, self._batches = duplicate(model).eval(), images.split(500)
        self._wanted = self._outputs()
        self._spread = (self._wanted - self._wanted.mean()).square().sum()

    def judge(self, case: Case, way: Way, share: float) -> Found:
        """One stream at a share of its channels."""
        kept = way.choose(case, max(1, round(share * case.stream.channels)))
        weights = {reading.name: (reading.site, way.fit(case, reading, kept)) for reading in case.readings}
        changes = {name: (weight, _shift(site, weight)) for name, (site, weight) in weights.items()}
        with instead_of(self._work, changes):
            found = self._outputs()
        return Found(
            damage=sum(site.error(weight) for site, weight in weights.values()),
            output_error=float((found - self._wanted).square().sum() / self._spread),
            changed=float((found.argmax(1) != self._wanted.argmax(1)).double().mean()),
        )

    @torch.no_grad()
    def _outputs(self) -> Tensor:
        return torch.cat([self._work(batch) for batch in self._batches])


def _shift(site: LinearSite, weight: Tensor) -> Tensor:
    bias = site.original.bias
    return site.moments.bias(site.original, weight) - bias if site.moments.centred else torch.zeros_like(bias)
