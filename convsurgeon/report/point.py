"""One network of a comparison: what it is called, what it costs, and what it keeps."""

from __future__ import annotations

from typing import Literal

from convsurgeon.base.proportion import interval
from convsurgeon.base.records import Record
from convsurgeon.planning.plan import CostRecord, PlanLatency
from convsurgeon.planning.targets import Metric
from convsurgeon.report.record import Fidelity, Report, Timing
from convsurgeon.runtimes.timer import Spread

__all__ = ["Point", "Quality", "Refused"]

Quality = Literal["accuracy", "agreement", "output error"]


class Point(Record):
    """One network: what it is called, how it was made, what it costs and keeps.

    ``before`` is what its original costs, ``command`` what makes it; ``timing`` and ``fidelity`` are None where it was
    not timed or not judged.
    """

    name: str
    model: str
    method: str
    target: tuple[str, ...] = ()
    before: CostRecord
    after: CostRecord
    timing: Timing | None = None
    fidelity: Fidelity | None = None
    command: str | None = None

    @classmethod
    def of(cls, name: str, report: Report) -> Point:
        """The point of a saved conversion, as it was judged last: after a recovery, if there was one."""
        return cls(
            name=name,
            model=report.plan.model,
            method=report.plan.method,
            target=report.plan.target,
            before=report.before,
            after=report.after,
            timing=report.timing or _measured(report.plan.latency),
            fidelity=_judged(report),
            command=report.command,
        )

    @property
    def original(self) -> bool:
        """Whether it is no conversion, but what others were made of."""
        return not self.method

    def quality(self, kind: Quality) -> float | None:
        """The network's quality of this kind, of which more is better; None where it was not measured."""
        if self.fidelity is None:
            return None
        error = self.fidelity.output_error
        values = {
            "accuracy": self.fidelity.accuracy_after,
            "agreement": self.fidelity.top1_agreement,
            "output error": None if error is None else -error,
        }
        return values[kind]

    def interval(self, kind: Quality) -> tuple[float, float] | None:
        """The 95 % interval of a share; None of an error, and of the original's agreement with itself."""
        share = self.quality(kind)
        if share is None or self.fidelity is None or kind == "output error" or (kind == "agreement" and self.original):
            return None
        return interval(share, self.fidelity.evaluated if kind == "accuracy" else self.fidelity.inputs)

    def cost(self, metric: Metric) -> float | None:
        """MACs, parameters, or the share of the original's time; None where it was not timed."""
        if metric == "latency":
            return None if self.timing is None else self.timing.ratio
        return float(getattr(self.after, metric))


class Refused(Record):
    """A network that can't be had, and why."""

    name: str
    reason: str


def _measured(latency: PlanLatency | None) -> Timing | None:
    """What a plan for time was measured to take; its medians alone are kept."""
    if latency is None or not latency.measured_before_ns or latency.measured_after_ns is None:
        return None
    before, after = (Spread.of([ns]) for ns in (latency.measured_before_ns, latency.measured_after_ns))
    return Timing(place=latency.place, batch=latency.batch, original=before, converted=after)


def _judged(report: Report) -> Fidelity | None:
    if report.recovery is None:
        return report.fidelity
    after = report.recovery.after
    labelled = after.images if after.accuracy is not None else 0
    return Fidelity(
        inputs=after.images,
        output_error=after.output_error,
        top1_agreement=after.agreement,
        evaluated=labelled,
        accuracy_before=report.recovery.original.accuracy,
        accuracy_after=after.accuracy,
    )
