"""The rows as tables and as plots: what is lost against the time that is left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.frontier.networks import METHODS
from benchmarks.frontier.rows import Row
from convsurgeon.report.chart import standalone
from convsurgeon.report.plot import Axis, Point, scatter

__all__ = ["pictures", "tables"]

# Below what 10,000 test images resolve, a logarithm would only draw noise.
LEAST = 0.1


def tables(rows: Sequence[Row]) -> str:
    """One Markdown table for each network, a column for each runtime."""
    parts = []
    for net, machine in dict.fromkeys((row.net, row.machine) for row in rows):
        found = [row for row in rows if (row.net, row.machine) == (net, machine)]
        runtimes = list(found[0].times)
        head = ["method", "planned for", "MACs, %", *(f"time in {each}, %" for each in runtimes)]
        head += ["another class, %", "points lost", "lost after training"]
        lines = [f"\n### {net}, on {machine}\n", _line(head), "|" + "---|" * len(head)]
        lines += [_line(_cells(row, runtimes)) for row in found]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cells(row: Row, runtimes: Sequence[str]) -> list[str]:
    times = [f"{row.times[runtime]:.1f}" for runtime in runtimes]
    after = "–" if row.lost_after_training is None else f"{row.lost_after_training:.2f}"
    return [METHODS[row.method], row.target, f"{row.macs:.1f}", *times, f"{row.changed:.2f}", f"{row.lost:.2f}", after]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def pictures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """For each network and runtime: the share of images whose class changes, without training, over the time."""
    written = []
    for net in dict.fromkeys(row.net for row in rows):
        found = [row for row in rows if row.net == net]
        for runtime in found[0].times:
            path = folder / f"frontier-{net}-{runtime}.svg"
            path.write_text(standalone(_picture(found, net, runtime)), encoding="utf-8")
            written.append(path)
    return written


def _picture(rows: Sequence[Row], net: str, runtime: str) -> str:
    points = [
        Point(
            label="",
            x=row.times[runtime],
            y=math.log10(max(row.changed, LEAST)),
            group=METHODS[row.method] + (", planned for time in eager mode" if row.in_time else ""),
        )
        for row in rows
    ]
    changed = Axis("images with another class than before, %", lambda y: f"{10**y:.3g}")
    return scatter(points, Axis(f"time in {runtime}, % of the original's", "{:.0f}".format), changed, title=net)
