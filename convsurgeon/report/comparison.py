"""Several results beside each other: what each keeps, what it costs, and which of them nobody beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from convsurgeon._version import __version__
from convsurgeon.base.errors import UsageError
from convsurgeon.base.proportion import interval
from convsurgeon.base.records import Record
from convsurgeon.planning.plan import CostRecord
from convsurgeon.planning.targets import Metric
from convsurgeon.report.folder import read_report
from convsurgeon.report.front import knee_of, pareto_front
from convsurgeon.report.record import Fidelity, Report, Timing

__all__ = ["METRICS", "ORIGINAL", "Comparison", "Point", "Quality", "Refused", "compare", "doubts"]

Quality = Literal["accuracy", "agreement", "output error"]
METRICS: tuple[Metric, ...] = ("macs", "params", "latency")
ORIGINAL = "original"


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
            timing=report.timing,
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


class Comparison(Record):
    """Points in the order given, their originals first. ``quality`` is what all of them were judged by.

    ``fronts`` names, for each cost, the points that nobody beats, cheapest first; ``knees`` the one of them after which
    quality falls off.
    """

    schema_version: Literal[1] = 1
    convsurgeon: str = __version__
    quality: Quality | None
    points: tuple[Point, ...]
    refused: tuple[Refused, ...] = ()
    fronts: dict[Metric, tuple[str, ...]]
    knees: dict[Metric, str]
    notes: tuple[str, ...] = ()
    command: str | None = None

    @classmethod
    def of(cls, points: Sequence[Point], *, refused: Sequence[Refused] = (), notes: Sequence[str] = ()) -> Comparison:
        """Put points beside each other, and their originals before them."""
        quality = _common_quality(points)
        every = (*_originals(points), *points)
        fronts, knees = {}, {}
        for metric in METRICS:
            front = _front(every, metric, quality)
            if front:
                fronts[metric] = tuple(point.name for point in front)
                places = [(point.cost(metric) or 0.0, _good(point, quality)) for point in front]
                if (knee := knee_of(places)) is not None:
                    knees[metric] = front[knee].name
        return cls(
            quality=quality, points=every, refused=tuple(refused), fronts=fronts, knees=knees, notes=tuple(notes)
        )

    @property
    def knee(self) -> tuple[Metric, Point] | None:
        """The knee by time where there is one, else by parameters, else by MACs."""
        metric = next((metric for metric in reversed(METRICS) if metric in self.knees), None)
        return None if metric is None else (metric, next(p for p in self.points if p.name == self.knees[metric]))

    def __repr__(self) -> str:
        return f"Comparison({len(self.points)} networks by {self.quality})"

    __str__ = __repr__

    def to_json(self) -> str:
        """As indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def compare(*folders: Path | str) -> Comparison:
    """Saved conversions side by side, by their own reports; nothing is run.

    Raises:
        UnknownName: no saved conversion there.
        RecipeError: a damaged report.
        UsageError: fewer than two folders, or one twice.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UsageError("compare needs two or more folders of saved conversions, each once.")
    reports = [read_report(path) for path in paths]
    points = [Point.of(name, report) for name, report in zip(_names(paths), reports, strict=True)]
    return Comparison.of(points, notes=doubts(points))


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names where these tell them apart."""
    short = [path.resolve().name for path in paths]
    return short if len({*short, ORIGINAL}) == len(short) + 1 else [str(path) for path in paths]


def doubts(points: Sequence[Point]) -> list[str]:
    """What makes figures of different runs hard to compare."""
    judged = {(p.fidelity.inputs, p.fidelity.evaluated) for p in points if p.fidelity is not None}
    notes = []
    if len(judged) > 1:
        notes.append("the networks were judged on different inputs, so that small differences mean little")
    if len({point.model for point in points}) > 1:
        notes.append("the networks have different originals; agreement is with each one's own")
    if len({(point.timing.place, point.timing.batch) for point in points if point.timing is not None}) > 1:
        notes.append(
            "the networks were timed in different places (machine, runtime, threads or batch); each share is of its "
            "own original's time there"
        )
    elif any(point.timing is not None for point in points):
        notes.append(
            "each network was timed in a run of its own; trust shares of the original's time, not milliseconds"
        )
    unjudged = [point.name for point in points if point.fidelity is None]
    if unjudged:
        notes.append(f"{', '.join(unjudged)}: nothing says what it keeps; convert with --calibrate or --evaluate")
    return notes


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


def _common_quality(points: Sequence[Point]) -> Quality | None:
    kinds: tuple[Quality, ...] = ("accuracy", "agreement", "output error")
    return next((kind for kind in kinds if points and all(p.quality(kind) is not None for p in points)), None)


def _originals(points: Iterable[Point]) -> list[Point]:
    """The network that each point was made of, once."""
    found: dict[tuple[str, int, int], list[Point]] = {}
    for point in points:
        found.setdefault((point.model, point.before.macs, point.before.params), []).append(point)
    alone = len(found) == 1
    return [_original(made, ORIGINAL if alone else f"{ORIGINAL} {made[0].model}") for made in found.values()]


def _original(made: Sequence[Point], name: str) -> Point:
    """The original as a point, with what was measured of it beside its converted networks."""
    point = made[0]
    fidelity = next((one.fidelity for one in made if one.fidelity is not None), None)
    timing = next((one.timing for one in made if one.timing is not None), None)
    if fidelity is not None:
        fidelity = fidelity.model_copy(
            update={
                "accuracy_after": fidelity.accuracy_before,
                "top1_agreement": None if fidelity.top1_agreement is None else 1.0,
                "output_error": None if fidelity.output_error is None else 0.0,
            }
        )
    if timing is not None:
        timing = timing.model_copy(update={"converted": timing.original})
    own = {"name": name, "method": "", "target": (), "after": point.before, "command": None}
    return point.model_copy(update={**own, "timing": timing, "fidelity": fidelity})


def _front(points: Sequence[Point], metric: Metric, quality: Quality | None) -> list[Point]:
    known = [p for p in points if p.cost(metric) is not None and quality is not None and p.quality(quality) is not None]
    return [known[i] for i in pareto_front([(p.cost(metric) or 0.0, _good(p, quality)) for p in known])]


def _good(point: Point, quality: Quality | None) -> float:
    value = None if quality is None else point.quality(quality)
    return 0.0 if value is None else value
