"""The rows as a table of each subject, and as plots: top-1 over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.frontier.networks import RIVAL
from benchmarks.int8.files import PRECISIONS, RUNTIMES
from benchmarks.int8.row import ORIGINAL, Row, Which
from convsurgeon.report.chart import standalone
from convsurgeon.report.plot import Axis, Point, scatter

__all__ = ["pictures", "tables"]

NAMES = {RIVAL: "Torch-Pruning"}
# Of top-1: what lost more is beside the point, and would press all others together.
DEEPEST = 5.0


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """A Markdown table by subject: a line for each network and runtime, each figure in float32 and in int8."""
    made = {}
    for subject in dict.fromkeys(row.subject for row in rows):
        found = [row for row in rows if row.subject == subject]
        pairs: dict[tuple[str, Which], dict[str, Row]] = defaultdict(dict)
        for row in sorted(found, key=lambda row: list(RUNTIMES).index(row.format)):
            pairs[row.format, row.which][row.precision] = row
        head = ["network", "MACs, %", "runtime"]
        head += [cell for name in ("kB", "time, %", "top-1, %", "agreement, %") for cell in (name, "in int8")]
        lines = [_line(head), "|" + "---|" * len(head)]
        lines += [_line(_cells(*(pair[precision] for precision in PRECISIONS))) for pair in pairs.values()]
        machines = sorted({f"Timed on {row.time.machine}.\n\n" for row in found if row.time})
        made[subject] = "".join(machines) + "\n".join(lines) + "\n"
    return made


def _cells(in_float: Row, in_int8: Row) -> list[str]:
    figures = [
        (
            f"{row.bytes / 1000:.0f}",
            _shown(row.time.percent if row.time else None, 0),
            _shown(row.top1, 2),
            f"{row.agreement:.2f}",
        )
        for row in (in_float, in_int8)
    ]
    both = [cell for pair in zip(*figures, strict=True) for cell in pair]
    return [_name(in_float.which), f"{in_float.macs:.0f}", RUNTIMES[in_float.format], *both]


def _name(which: Which) -> str:
    if which.method == ORIGINAL:
        return ORIGINAL
    name = f"{NAMES.get(which.method, which.method)} {which.target} %"
    return f"{name}, {which.steps} steps" if which.steps else name


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def pictures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """For each subject with times and top-1, a plot for each runtime."""
    written = []
    for subject, kind in dict.fromkeys((row.subject, row.format) for row in rows):
        found = [row for row in rows if (row.subject, row.format) == (subject, kind)]
        points = list(_points(found))
        if points:
            time = Axis(f"time in {RUNTIMES[kind]}, % of the float32 original's", "{:.0f}".format)
            title = f"{subject} in {RUNTIMES[kind]}"
            chart = scatter(points, time, Axis("top-1, %", "{:.1f}".format), title=title)
            path = folder / f"int8-{subject}-{kind}.svg"
            path.write_text(standalone(chart), encoding="utf-8")
            written.append(path)
    return written


def _points(rows: Sequence[Row]) -> Iterable[Point]:
    best = max((row.top1 for row in rows if row.top1 is not None), default=0.0)
    for row in rows:
        if row.time is not None and row.top1 is not None and row.top1 > best - DEEPEST:
            name = row.which.method
            yield Point(
                label="" if name == ORIGINAL else f"{row.which.target}{' t' if row.which.steps else ''}",
                x=row.time.percent,
                y=row.top1,
                group=f"{NAMES.get(name, name)}, {row.precision}",
            )
