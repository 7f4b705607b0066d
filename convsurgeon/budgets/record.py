"""The result of a check as a record: what is drawn as a table and printed as JSON."""

from __future__ import annotations

from typing import Literal

from convsurgeon._version import __version__
from convsurgeon.base.records import Record
from convsurgeon.budgets.config import Level
from convsurgeon.budgets.metrics import Metric, exact

__all__ = ["CheckReport", "Figure", "LayerChange", "Row", "Status"]

Status = Literal["ok", "no limit", "warn", "over", "failed", "off"]


class Figure(Record):
    """One number of one model: a count, bytes, or milliseconds (latency).

    ``limit`` is the largest allowed value, ``limit_text`` how it was written. ``varying`` MACs or FLOPs depend on the
    data: they come on top of ``value`` on these inputs and are not judged.
    """

    metric: Metric
    value: float | int
    baseline: int | None = None
    limit: float | int | None = None
    limit_text: str | None = None
    varying: int = 0
    status: Literal["ok", "no limit", "warn", "over", "not judged"] = "no limit"

    def sentence(self) -> str:
        """The verdict in words, with nothing rounded away."""
        part = " (without those that depend on the data)" if self.varying else ""
        if self.limit is None:
            return f"{exact(self.metric, self.value)}{part}"
        difference = self.value - self.limit
        beyond = f", {exact(self.metric, difference)} too many" if difference > 0 else ""
        limit = f"{exact(self.metric, self.limit)} ({self.limit_text})"
        return f"{exact(self.metric, self.value)}{part}, at most {limit} allowed{beyond}"


class LayerChange(Record):
    """A module's own MACs or parameters now and in the baseline; None: not there."""

    metric: Literal["macs", "params"]
    layer: str
    before: int | None
    now: int | None


class Row(Record):
    """One entry. ``problem`` says why a failed one failed, ``notes`` what else there is to know.

    ``why`` lists the layers that differ from those of the lock or revision ``why_against``, or, where that is None,
    the largest ones. ``line`` is where the entry stands in its file. ``assumed_input``: nothing states its shapes.
    """

    name: str
    source: str
    level: Level
    status: Status
    message: str | None = None
    problem: str | None = None
    exit_code: int = 0
    line: int | None = None
    input_shapes: tuple[tuple[int, ...], ...] = ()
    assumed_input: bool = False
    counted_on: Literal["meta", "device"] | None = None
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    why: tuple[LayerChange, ...] = ()
    why_against: str | None = None

    def verdicts(self, config: str) -> list[tuple[Figure, str]]:
        """Figures beyond their limits, each with a sentence: file, entry, key, numbers, the entry's own message."""
        own = f". {self.message}" if self.message else ""
        return [
            (figure, f"{config}, entry '{self.name}', {figure.metric}: {figure.sentence()}{own}")
            for figure in self.figures
            if figure.status in ("over", "warn")
        ]


class CheckReport(Record):
    """All rows. ``exit_code``: 0 within budget, 1 over, 2 usage or configuration, 3 a model that can't be used."""

    schema_version: Literal[1] = 1
    convsurgeon: str = __version__
    config: str
    baseline: str | None
    exit_code: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"
