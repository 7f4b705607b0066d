"""Ways to a smaller network without training, most telling first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

import convsurgeon
from benchmarks.conversions import plan_key
from benchmarks.real.subject import Case
from benchmarks.rivals import low_rank, pruned, spatial_svd, tucker2
from convsurgeon.planning.plan import Plan

__all__ = ["METHODS", "Conversion", "Method", "Rival", "trains"]


@dataclass(frozen=True)
class Conversion:
    """convsurgeon: planned by measured damage, fitted on the calibration inputs; then ``steps`` of distillation."""

    title: str
    method: str = "auto"
    moves: str = "swap"
    steps: int = 0

    def plan(self, case: Case, share: float) -> Plan:
        """The plan; raises TargetError where the share is out of reach."""
        return convsurgeon.plan(
            case.model,
            case.example_inputs,
            method=self.method,
            moves=self.moves,
            target=f"macs={100 * share:g}%",
            calibration=case.calibration,
        )

    def key(self, plan: Plan) -> str:
        """The same for networks that are the same."""
        return f"{plan_key(plan)}-{self.steps}" if self.steps else plan_key(plan)

    def carry_out(self, case: Case, plan: Plan) -> convsurgeon.Conversion:
        """The network that a plan gives."""
        done = convsurgeon.apply(case.model, plan, case.example_inputs, calibration=case.calibration)
        return self._recovered(case, done) if self.steps else done

    def _recovered(self, case: Case, done: convsurgeon.Conversion) -> convsurgeon.Conversion:
        settings = convsurgeon.RecoverSettings(steps=self.steps)
        recovered = convsurgeon.recover(case.model, done, case.training, settings=settings).conversion
        assert recovered is not None
        return recovered


@dataclass(frozen=True)
class Rival:
    """Another way to as many MACs; raises whatever it raises where it does not get there."""

    title: str
    make: Callable[[Case, float], nn.Module]


Method = Conversion | Rival


def trains(method: Method) -> bool:
    """Whether it needs batches to train on."""
    return isinstance(method, Conversion) and method.steps > 0


METHODS: dict[str, Method] = {
    "auto": Conversion("auto"),
    "torch-pruning": Rival(
        "Torch-Pruning, by magnitude",
        lambda case, share: pruned(case.model, case.example_inputs, share, whole=case.whole),
    ),
    "spatial-svd": Rival(
        "spatial SVD of the weights", lambda case, share: spatial_svd(case.model, case.example_inputs, share)
    ),
    "low-rank": Rival("low rank of the weights", lambda case, share: low_rank(case.model, case.example_inputs, share)),
    "tucker-hosvd": Rival("Tucker of the weights", lambda case, share: tucker2(case.model, case.example_inputs, share)),
    "auto-moves": Conversion("auto, and narrowing", moves="swap,narrow,streams"),
    "narrow": Conversion("narrowing alone", moves="narrow,streams"),
    "narrow-recovered": Conversion("narrowing, then recovery", moves="narrow,streams", steps=400),
    "spatial": Conversion("Spatial", "spatial"),
    "igc": Conversion("IGC", "igc"),
    "tucker": Conversion("Tucker", "tucker"),
    "compconv": Conversion("CompConv", "compconv"),
    "dgconv": Conversion("DGConv, hardened", "dgconv"),
}
