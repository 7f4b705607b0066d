"""The record of a search for the smallest network above a floor: what was asked, and each network that was tried."""

from __future__ import annotations

from convsurgeon.base.bounds import CONFIDENCE
from convsurgeon.base.records import Record
from convsurgeon.planning.floors import Measure
from convsurgeon.planning.targets import Metric

__all__ = ["FloorSearch", "Probe", "Verdict"]


class Verdict(Record):
    """How one network was judged by one floor.

    ``seen`` is the share, the difference of shares, the relative error or the score on ``inputs`` inputs that nothing
    was fitted on; ``bound`` what it is at least (an error: at most) with 95 % confidence, None for a score. ``strain``
    is the share of what the floor allows the unchanged network to lose that was used up: above 1 it is not kept.
    """

    floor: str
    measure: Measure
    seen: float
    bound: float | None
    inputs: int
    strain: float

    @property
    def kept(self) -> bool:
        """Whether the network keeps the floor."""
        return self.strain <= 1

    def describe(self) -> str:
        """What was seen and what is sure, e.g. ``agreement=99%: 99.60 %, at least 99.03 % (1,196 inputs)``."""
        words = self._words(self.seen)
        if self.bound is None:
            # A score has inputs of its own, which nobody else knows.
            return f"{self.floor}: {words}"
        words += f", {'at most' if self.measure == 'output-error' else 'at least'} {self._words(self.bound)}"
        return f"{self.floor}: {words} ({self.inputs:,} inputs)"

    def _words(self, value: float) -> str:
        if self.measure == "score":
            return f"{value:g}"
        if self.measure == "difference":
            return f"{100 * value:+.2f} points"
        # Two digits of an error, which may be far below a hundredth of a percent.
        small = self.measure == "output-error" and 0 < value < 1e-4
        return f"{100 * value:.2g} %" if small else f"{100 * value:.2f} %"


class Probe(Record):
    """One network that was planned to ``share`` of the minimised metric, fitted and judged.

    ``macs`` and ``params`` are the network's, ``reached`` is the share of the metric that it has.
    """

    share: float
    reached: float
    macs: int
    params: int
    damage: float
    verdicts: tuple[Verdict, ...]

    @property
    def strain(self) -> float:
        """The greatest of all floors'."""
        return max(verdict.strain for verdict in self.verdicts)

    @property
    def kept(self) -> bool:
        """Whether it keeps every floor."""
        return self.strain <= 1


class FloorSearch(Record):
    """The floors, what was minimised above them, how sure the bounds are, and the networks in the order tried."""

    at_least: tuple[str, ...]
    minimised: Metric
    confidence: float = CONFIDENCE
    probes: tuple[Probe, ...]

    @property
    def best(self) -> Probe | None:
        """The smallest network that keeps every floor."""
        return min((probe for probe in self.probes if probe.kept), key=lambda probe: probe.reached, default=None)
