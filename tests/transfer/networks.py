"""Networks that are awkward to calibrate, their plans, and damage done to every site by hand."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.families.family import Spec
from convsurgeon.planning.plan import CostRecord, Plan, PlanLayer
from convsurgeon.survey.sites import survey


class Chain(nn.Module):
    """conv → BN → ReLU → conv (with bias, no BN) → ReLU → BN → conv → head: [N, 8, H, W] → [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.late_norm = nn.BatchNorm2d(16)
        self.third = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.third_norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        x = self.norm(self.first(x)).relu_()
        x = self.late_norm(self.second(x).relu())
        return self.head(self.third_norm(self.third(x)).relu().mean((2, 3)))


class Looped(nn.Module):
    """One convolution run three times on what it wrote itself, then two inputs added: forward(x, y)."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.alias = self.again
        self.tall = nn.Conv2d(8, 8, (4, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """One forward pass."""
        for _ in range(2):
            x = torch.tanh(self.again(x))
        return self.tall(self.alias(x) + y).mean((2, 3))


def trained(model: nn.Module) -> nn.Module:
    """Norm statistics and affine parameters as if it had been trained."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            size = module.num_features
            module.running_mean = 0.1 * torch.randn(size, generator=random)
            module.running_var = 0.5 + torch.rand(size, generator=random)
            module.weight.data = 0.5 + torch.rand(size, generator=random)
            module.bias.data = 0.2 * torch.randn(size, generator=random)
    return model.eval()


def plan_for(model: nn.Module, specs: Mapping[str, Spec], *example: Tensor) -> Plan:
    """A plan that replaces exactly these sites."""
    found = survey(model, as_inputs(example))
    layers = tuple(
        PlanLayer(
            name=site.name,
            aliases=site.aliases,
            kind=site.kind,
            shape=site.shape,
            calls=site.calls,
            positions=site.positions,
            action="replaced" if site.name in specs else "kept",
            reason="by hand",
            spec=specs.get(site.name),  # type: ignore[arg-type]
            before=CostRecord.of(site.cost),
            after=CostRecord.of(site.cost),
        )
        for site in found.sites
    )
    return Plan(
        model="test",
        fingerprint=found.fingerprint(),
        input_shapes=found.input_shapes,
        counted_on=found.counted_on,
        method="by hand",
        target=(),
        objective="none",
        solver="none",
        before=CostRecord.of(found.total),
        after=CostRecord.of(found.total),
        layers=layers,
    )
