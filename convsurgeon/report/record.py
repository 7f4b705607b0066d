"""The report as a record: what is saved, printed with ``--json`` and drawn as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from convsurgeon._version import __version__
from convsurgeon.base.records import Record
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.preprocessing import Preparation
from convsurgeon.planning.plan import CostRecord, Plan
from convsurgeon.recovery.history import History
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread

__all__ = ["Fidelity", "Report", "Timing", "of_version_1"]


class Fidelity(Record):
    """How close the converted model, fitted on ``fitted`` inputs, is to its original on ``inputs`` inputs.

    ``held_back`` says that these were not fitted on. ``output_error`` is ‖y − ŷ‖² / ‖y − mean(y)‖²,
    ``top1_agreement`` the share of inputs with the same top-1 class, ``accuracy_before`` and ``accuracy_after``
    top-1 accuracy on ``evaluated`` labelled images.
    """

    fitted: int = 0
    inputs: int = 0
    held_back: bool = True
    output_error: float | None = None
    top1_agreement: float | None = None
    evaluated: int = 0
    accuracy_before: float | None = None
    accuracy_after: float | None = None


class Timing(Record):
    """One forward of both networks, timed in turn right after the conversion, on ``batch`` inputs; ``busy`` where other
    programs kept the processor from it."""

    place: Place
    batch: int
    original: Spread
    converted: Spread
    busy: bool = False

    @property
    def ratio(self) -> float:
        """The converted network's median over the original's."""
        return self.converted.median_ns / max(1, self.original.median_ns)


class Report(Record):
    """A plan and what became of it, with exact integers (MACs of one forward on the example inputs).

    ``inherited`` says how the new layers got their weights, ``notes`` what else is worth knowing (the plan has notes of
    its own), ``errors`` the relative error left in the outputs of layers of the converted network, by name,
    ``preparation`` how images became inputs, ``timing`` what a forward takes where that was quickly found out,
    ``command`` the command line that made it (None: made in Python).
    """

    schema_version: Literal[2] = 2
    convsurgeon: str = __version__
    plan: Plan
    weights: WeightsOrigin
    inherited: str
    notes: tuple[str, ...] = ()
    errors: dict[str, float] = Field(default_factory=dict)
    fidelity: Fidelity | None = None
    recovery: History | None = None
    preparation: Preparation | None = None
    timing: Timing | None = None
    command: str | None = None

    @property
    def before(self) -> CostRecord:
        """What the original costs."""
        return self.plan.before

    @property
    def after(self) -> CostRecord:
        """What the converted network costs."""
        return self.plan.after

    def __repr__(self) -> str:
        return f"Report({self.plan!r}, weights={self.weights.origin!r})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        # The page is drawn from reports, so it can't be imported before them.
        from convsurgeon.report.page.conversion import summary_html

        return summary_html(self)

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def of_version_1(content: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """A report of the first format, which had copied most of its plan, in this one."""
    kept = {key: content.get(key) for key in ("convsurgeon", "weights", "inherited", "fidelity", "recovery")}
    notes = [note for note in content["notes"] if note not in plan.notes]
    errors = {layer["name"]: layer["error"] for layer in content["layers"] if layer["error"] is not None}
    return {**kept, "plan": plan.model_dump(mode="json"), "notes": notes, "errors": errors}
