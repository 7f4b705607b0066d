"""The report as a record: what is saved, printed with ``--json`` and drawn as a table."""

from __future__ import annotations

from typing import Literal

from convsurgeon._version import __version__
from convsurgeon.base.records import Record
from convsurgeon.models import WeightsOrigin
from convsurgeon.planning.latencies import LayerLatency, PlanLatency
from convsurgeon.planning.plan import Action, CostRecord, Plan, PlanLayer
from convsurgeon.recovery.history import History

__all__ = ["Fidelity", "Report", "ReportLayer", "make_report"]


class Fidelity(Record):
    """How close the converted model is to its original on ``inputs`` inputs.

    ``held_back`` says that these were not fitted on. ``output_error`` is ‖y − ŷ‖² / ‖y − mean(y)‖²,
    ``top1_agreement`` the share of inputs with the same top-1 class, ``accuracy_before`` and ``accuracy_after``
    top-1 accuracy on ``evaluated`` labelled images.
    """

    inputs: int = 0
    held_back: bool = True
    output_error: float | None = None
    top1_agreement: float | None = None
    evaluated: int = 0
    accuracy_before: float | None = None
    accuracy_after: float | None = None


class ReportLayer(Record):
    """One convolution. ``error`` is the relative error left in its output in the converted network."""

    name: str
    calls: int
    action: Action
    reason: str
    was: str
    before: CostRecord
    after: CostRecord
    damage: float | None = None
    error: float | None = None
    latency: LayerLatency | None = None


class Report(Record):
    """Everything a conversion has to say, with exact integers (MACs of one forward on the example inputs)."""

    schema_version: Literal[1] = 1
    convsurgeon: str = __version__
    model: str
    method: str
    weights: WeightsOrigin
    inherited: str
    target: tuple[str, ...]
    objective: str
    solver: str
    input_shapes: tuple[tuple[int, ...], ...]
    before: CostRecord
    after: CostRecord
    latency: PlanLatency | None = None
    notes: tuple[str, ...] = ()
    fidelity: Fidelity | None = None
    recovery: History | None = None
    layers: tuple[ReportLayer, ...]

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def make_report(
    plan: Plan,
    weights: WeightsOrigin,
    *,
    inherited: str,
    notes: tuple[str, ...] = (),
    errors: dict[str, float] | None = None,
    fidelity: Fidelity | None = None,
) -> Report:
    """Put a plan and what became of it into one record; ``errors`` holds the error left, by layer name."""
    return Report(
        model=plan.model,
        method=plan.method,
        weights=weights,
        inherited=inherited,
        target=plan.target,
        objective=plan.objective,
        solver=plan.solver,
        input_shapes=plan.input_shapes,
        before=plan.before,
        after=plan.after,
        latency=plan.latency,
        notes=(*plan.notes, *notes),
        fidelity=fidelity,
        layers=tuple(_layer(row, (errors or {}).get(row.name)) for row in plan.layers),
    )


def _layer(row: PlanLayer, error: float | None) -> ReportLayer:
    return ReportLayer(
        name=row.name,
        calls=row.calls,
        action=row.action,
        reason=row.reason,
        was=f"{row.kind} {row.shape.describe()}",
        before=row.before,
        after=row.after,
        damage=row.damage,
        error=error,
        latency=row.latency,
    )
