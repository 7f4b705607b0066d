"""Several results beside each other: what each keeps, what it costs, and which of them nobody beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from convsurgeon._version import __version__
from convsurgeon.base.errors import UsageError
from convsurgeon.base.records import Record
from convsurgeon.planning.targets import Metric
from convsurgeon.report.folder import read_report
from convsurgeon.report.front import knee_of, pareto_front
from convsurgeon.report.point import Point, Quality, Refused

__all__ = ["METRICS", "ORIGINAL", "Comparison", "compare", "doubts", "timing_doubts"]

METRICS: tuple[Metric, ...] = ("macs", "params", "latency")
ORIGINAL = "original"


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
    notes += timing_doubts(points)
    unjudged = [point.name for point in points if point.fidelity is None]
    if unjudged:
        notes.append(f"{', '.join(unjudged)}: nothing says what it keeps; convert with --calibrate or --evaluate")
    return notes


def timing_doubts(points: Sequence[Point]) -> list[str]:
    """What makes times hard to compare: each is of a run of its own."""
    timed = [(point.name, point.timing) for point in points if point.timing is not None]
    notes = []
    if len({(timing.place, timing.batch) for _, timing in timed}) > 1:
        notes.append(
            "the networks were timed in different places (machine, runtime, threads or batch); each share is of its "
            "own original's time there"
        )
    elif timed:
        notes.append(
            "each network was timed in a run of its own; trust shares of the original's time, not milliseconds"
        )
    if busy := [name for name, timing in timed if timing.busy]:
        notes.append(f"other programs kept the processor from {', '.join(busy)}: times of a BUSY machine say little")
    return notes


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
