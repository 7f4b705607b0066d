"""What ``bench`` found, as a record: printed with ``--json`` and drawn as tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from convsurgeon._version import __version__
from convsurgeon.base.records import Record
from convsurgeon.planning.plan import CostRecord
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread

__all__ = ["BenchFigure", "BenchLayer", "BenchReport", "BenchRow", "realised_share"]


class BenchFigure(Record):
    """One network: time of one forward, images per second at the median, and peak memory in bytes.

    ``memory`` is what a forward takes on top of the loaded network; None where the system does not tell.
    """

    latency: Spread
    throughput: float
    memory: int | None


class BenchRow(Record):
    """One runtime, precision and batch size; ``batch_norm`` says what the runtime does with it, for both networks.

    ``realised`` is (1 − latency ratio) / (1 − MACs ratio): the share of the saved MACs that shows in time.
    """

    place: Place
    batch: int
    batch_norm: str
    original: BenchFigure
    converted: BenchFigure | None = None
    ratio: float | None = None
    realised: float | None = None


class BenchLayer(Record):
    """One layer inside the running network, eager, over all its calls; ``ratio`` is after / before."""

    name: str
    was: str
    became: str | None
    batch: int
    original: Spread
    converted: Spread | None = None
    ratio: float | None = None


class BenchReport(Record):
    """Everything that ``bench`` found; ``absent`` and ``failed`` name runtimes with the reason."""

    schema_version: Literal[1] = 1
    convsurgeon: str = __version__
    model: str
    lowered: bool
    input_shapes: tuple[tuple[int, ...], ...]
    original: CostRecord
    converted: CostRecord | None = None
    macs_ratio: float | None = None
    rows: tuple[BenchRow, ...]
    layers: tuple[BenchLayer, ...] = ()
    notes: tuple[str, ...] = ()
    absent: dict[str, str] = Field(default_factory=dict)
    failed: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def realised_share(latency_ratio: float, macs_ratio: float) -> float | None:
    """(1 − latency ratio) / (1 − MACs ratio); None where no MACs are saved, so that there is nothing to realise."""
    return None if macs_ratio >= 1 else (1 - latency_ratio) / (1 - macs_ratio)
