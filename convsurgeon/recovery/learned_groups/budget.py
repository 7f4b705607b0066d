"""The network-wide budget of learned groups: complexity ζ of the gated layers, and the wanted complexity o.

The paper (arXiv 1908.05867) has ζ = Σ_l C_l·∏_k (1 + g_k^l), the ones in all relationship matrices U. Here every
layer has a weight w_l besides: with w_l = output positions · kernel area, ζ is the gated layers' MACs, exactly; with
w_l = 1 it has the published value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.families import LEARNABLE
from convsurgeon.families.cost import Cost
from convsurgeon.families.family import LearnedSpec
from convsurgeon.planning.plan import Plan, PlanLayer
from convsurgeon.planning.targets import Target, human
from convsurgeon.recovery.learned_groups.complexity import complexity

__all__ = ["GatedLayer", "GroupBudget", "Weighting"]

# "cost": ζ in the target's own unit, MACs or parameters; "ones": every layer counts its ones in U, as published.
Weighting = Literal["cost", "ones"]


@dataclass(frozen=True)
class GatedLayer:
    """One layer whose gates are learned: its row of the plan, its open spec and its number of gates K."""

    row: PlanLayer
    spec: LearnedSpec
    gates: int

    @property
    def name(self) -> str:
        """Qualified name of the module."""
        return self.row.name

    def cost(self, closed: int) -> Cost:
        """MACs and parameters once hardened with ``closed`` gates at 0, i.e. in 2^closed groups."""
        return self.spec.closed(closed).cost(self.row.shape, self.row.positions)

    def ones(self, closed: int) -> int:
        """Ones in U: C_in · C_out / 2^closed."""
        return self.row.shape.in_channels * self.row.shape.out_channels >> closed

    def weight(self, target: Target, weighting: Weighting) -> int:
        """w_l: what one of the ones in U costs, in the target's unit; 1 for the published ζ."""
        if weighting == "ones":
            return 1
        return self.row.shape.area * (self.row.positions if target.metric == "macs" else 1)


@dataclass(frozen=True)
class GroupBudget:
    """What the gated layers may cost together.

    ``original`` is what the network cost before surgery, ``rest`` what everything but the gated layers costs now.
    ζ and o belong to the first target; the projection meets all of them.
    """

    layers: tuple[GatedLayer, ...]
    targets: tuple[Target, ...]
    original: Cost
    rest: Cost
    weighting: Weighting = "cost"

    @classmethod
    def of(cls, plan: Plan, targets: Sequence[Target], weighting: Weighting = "cost") -> GroupBudget:
        """The budget of a plan whose open-gated layers are to be learned.

        Raises:
            UsageError: no layer has open gates.
            TargetError: no target, one in another unit than MACs or parameters, or one out of reach.
        """
        layers = tuple(
            GatedLayer(row, row.spec, row.spec.gate_count(row.shape))
            for row in plan.replaced
            if isinstance(row.spec, LearnedSpec) and row.spec.learns
        )
        if not layers:
            raise UsageError(
                f"learning groups needs layers with open gates, and this '{plan.method}' plan has none: "
                f"convert with --method {LEARNABLE} and without --target first."
            )
        _check_units(targets)
        rest = plan.after.cost() - Cost.total(layer.row.after.cost() for layer in layers)
        budget = cls(layers, tuple(targets), plan.before.cost(), rest, weighting)
        budget._check_reach()
        return budget

    @property
    def limits(self) -> tuple[int, ...]:
        """For each target, what the gated layers may cost once everything else is paid."""
        return tuple(t.limit(self.original) - t.of(self.rest) for t in self.targets)

    @property
    def wanted(self) -> float:
        """The wanted complexity o, in the unit of ζ.

        For weights of 1 it is the share of the open ζ that the target leaves of the gated layers' cost.
        """
        first, limit = self.targets[0], self.limits[0]
        dense = [first.of(layer.cost(0)) for layer in self.layers]
        most = sum(layer.weight(first, self.weighting) * layer.ones(0) for layer in self.layers)
        # Biases cost parameters that no gate saves.
        return float(limit - (sum(dense) - most)) if self.weighting == "cost" else most * limit / sum(dense)

    def zeta(self, gates: Mapping[str, Tensor]) -> Tensor:
        """ζ as a float64 scalar from each layer's gates [K]; differentiable, and exact below 2^53."""
        terms = [
            layer.weight(self.targets[0], self.weighting)
            * complexity(gates[layer.name].double(), layer.row.shape.in_channels, layer.row.shape.out_channels)
            for layer in self.layers
        ]
        return torch.stack(terms).sum()

    def cost(self, closed: Mapping[str, int]) -> Cost:
        """MACs and parameters of the whole network, once hardened with so many gates closed in each layer."""
        return self.rest + Cost.total(layer.cost(closed[layer.name]) for layer in self.layers)

    def share(self, closed: Mapping[str, int]) -> float:
        """What is kept of the original, in the first target's metric."""
        first = self.targets[0]
        return first.of(self.cost(closed)) / first.of(self.original)

    def _check_reach(self) -> None:
        """Closing a gate lowers MACs and parameters alike, so each target is judged alone."""
        low = self.cost({layer.name: layer.gates for layer in self.layers})
        high = self.cost({layer.name: 0 for layer in self.layers})
        for target in self.targets:
            least, most, whole = (target.of(cost) for cost in (low, high, self.original))
            if least > target.limit(self.original):
                raise TargetError(
                    f"target {target.text} can't be reached by the groups of {len(self.layers)} layers. "
                    f"Reachable: {target.metric} from {human(least)} ({least / whole:.1%}) to {human(most)} "
                    f"({most / whole:.1%}), asked: {human(target.limit(self.original))}. "
                    "Raise the target, or convert more layers (--shortcuts, --stem)."
                )


def _check_units(targets: Sequence[Target]) -> None:
    if not targets:
        raise TargetError("learning groups needs a target; expected what to keep at most, e.g. --target macs=50%.")
    for target in targets:
        if target.metric not in ("macs", "params"):
            raise TargetError(
                f"target '{target.text}' is no budget for learned groups: their cost is known in MACs and "
                "parameters. Give --target macs=50% or params=12M."
            )
