"""A recovery on a page: its curves, the same numbers as a table, and how learned groups came about."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from convsurgeon.recovery.history import History, HistoryRow, Score
from convsurgeon.report.page.blocks import Block, Chart, Section, Sentences, Table
from convsurgeon.report.plot import Axis, Point, curves

__all__ = ["training_section"]

T = TypeVar("T")

_ERROR = "output error"
# What a curve, a table and the columns of learned groups show at most, evenly chosen.
_POINTS, _ROWS, _COLUMNS = 120, 20, 8


def training_section(history: History) -> Section:
    """What the training did to loss, score and groups."""
    rows = history.rows
    blocks: list[Block] = [Sentences(history.extras)] if history.extras else []
    if len(rows) > 1:
        blocks += _curves(rows)
    if rows:
        blocks.append(_table(rows, history.kept_step))
    if any(row.groups for row in rows):
        blocks.append(_groups([row for row in rows if row.groups]))
    return Section("Recovery by training", tuple(blocks))


def _curves(rows: Sequence[HistoryRow]) -> list[Block]:
    step = Axis("step", "{:,.0f}".format)
    scores: list[tuple[str, Callable[[Score], float | None]]] = [
        ("top-1 accuracy", lambda score: score.accuracy),
        ("agreement with the original", lambda score: score.agreement),
        (_ERROR, lambda score: score.output_error),
    ]
    shown = [(Axis("loss", "{:.3g}".format), [Point("", row.step, row.loss) for row in rows])]
    for title, value in scores:
        points = [Point("", row.step, found) for row in rows if (found := value(row.score)) is not None]
        if len(points) > 1:
            shown.append((Axis(title, "{:.1%}".format, most=math.inf if title == _ERROR else 1.0), points))
    return [Chart(curves(_some(points, _POINTS), step, axis, title=f"{axis.title} by step")) for axis, points in shown]


def _table(rows: Sequence[HistoryRow], kept_step: int) -> Table:
    cells = tuple(
        (f"{row.step:,}", str(row.epoch + 1), f"{row.loss:.4f}", f"{row.lr:.2g}", row.score.describe() or "–")
        for row in _some(rows, _ROWS)
    )
    caption = f"The course of the training; the weights of step {kept_step:,} were kept."
    return Table(caption, ("step", "epoch", "loss", "learning rate", "held out"), cells, frozenset({1, 2, 3}))


def _groups(rows: Sequence[HistoryRow]) -> Table:
    shown = _some(rows, _COLUMNS)
    cells = tuple((name, *(str(row.groups.get(name, "–")) for row in shown)) for name in rows[-1].groups)
    header = ("layer", *(f"step {row.step:,}" for row in shown))
    numbers = frozenset(range(1, len(header)))
    return Table("Learned groups of each layer as the training went on.", header, cells, numbers)


def _some(items: Sequence[T], most: int) -> list[T]:
    """All items, or ``most`` at even distances, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]
