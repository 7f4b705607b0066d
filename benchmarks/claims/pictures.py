"""IGC's width curve and the dynamics of learned groups, as SVGs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.claims.cells import IGC_UNITS
from benchmarks.claims.rows import Row
from benchmarks.claims.train import STEPS
from convsurgeon.report.chart import standalone
from convsurgeon.report.plot import Axis, Point, curves

__all__ = ["pictures"]

# Between the lines of layers with as many groups, in powers of two.
_APART = 0.09


def pictures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write what there are rows for, and say where."""
    drawn = {"igc": width_curve(rows), "gates": dynamics(rows)}
    paths = [folder / f"claims-{name}.svg" for name in drawn]
    for path, picture in zip(paths, drawn.values(), strict=True):
        path.write_text(standalone(picture), encoding="utf-8")
    return paths


def width_curve(rows: Sequence[Row]) -> str:
    """A point for every (L, M), with the range over seeds, and a line for the plain convolution."""
    units = [(f"L{partitions}M{width}", width) for partitions, width in IGC_UNITS]
    points = [point for name, width in units for point in _point(rows, name, width, "IGC")]
    ends = (units[0][1], units[-1][1])
    points += [point for width in ends for point in _point(rows, "plain", width, "plain convolution")]
    title = "IGC at equal parameters: top-1 on Fashion-MNIST"
    return curves(
        points, Axis("channels in a partition, M", "{:g}".format), Axis("top-1, %", "{:.1f}".format), title=title
    )


def _point(rows: Sequence[Row], name: str, width: int, group: str) -> list[Point]:
    values = [row.top1 for row in rows if (row.claim, row.variant) == ("igc", name)]
    return [Point(name, width, mean(values), (min(values), max(values)), group)] if values else []


def dynamics(rows: Sequence[Row]) -> str:
    """The groups of each layer while they are learned, of the first seed; a little apart where they are the same."""
    found = next((row.groups for row in rows if row.variant == "learned"), ())
    points = [
        Point(
            str(groups),
            number * STEPS / (len(found) - 1),
            math.log2(groups) + _APART * (layer - 2.5),
            None,
            f"layer {layer + 1}",
        )
        for layer in range(len(found[0]) if found else 0)
        for number, groups in ((number, at[layer]) for number, at in enumerate(found) if number % 2 == 0)
    ]
    groups = Axis("groups", lambda y: f"{2 ** round(y)}")
    return curves(points, Axis("step", "{:.0f}".format), groups, title="Groups of each layer while gates learn")
