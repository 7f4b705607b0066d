"""The table of geometric means: a line per method and share, a column per runtime and precision."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean

from benchmarks.latency.networks import METHODS
from benchmarks.latency.rows import Row

__all__ = ["means"]

HEAD = """\
## All networks together

Geometric means of the latency ratio over all networks, batch sizes and CPUs where a lowered network was timed
beside a pruned twin, whose mean stands in brackets; then the number of them. Bold: faster than the pruned ones. What is
kept where a method can't reach the share asked for stands in the rows.
"""


def means(rows: Sequence[Row]) -> str:
    """A Markdown section; empty where no row fits."""
    fit = [row for row in rows if row.lowered and row.on == "cpu" and row.rival_ratio is not None]
    if not fit:
        return ""
    columns = sorted({(row.runtime, row.precision) for row in fit})
    titles = ["method", "MACs asked for", *(f"{runtime} {precision}" for runtime, precision in columns)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for share in sorted({row.share for row in fit}, reverse=True):
        for method, title in METHODS.items():
            of_method = [row for row in fit if (row.method, row.share) == (method, share)]
            if not of_method:
                continue
            cells = [_mean([row for row in of_method if (row.runtime, row.precision) == column]) for column in columns]
            lines.append(f"| {title} | {share:.0%} | {' | '.join(cells)} |")
    return "\n".join([HEAD, *lines]) + "\n"


def _mean(rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    ours = geometric_mean(row.ratio for row in rows)
    rival = geometric_mean(row.rival_ratio for row in rows if row.rival_ratio)
    better = "**" if ours < rival else ""
    return f"{better}{ours:.2f}{better} ({rival:.2f}), {len(rows)}"
