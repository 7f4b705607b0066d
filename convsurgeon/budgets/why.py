"""Which layers are responsible: those that changed against a baseline, or the largest ones."""

from __future__ import annotations

from typing import Literal

from convsurgeon.budgets.lock import LockedModel
from convsurgeon.budgets.measurement import Measured
from convsurgeon.budgets.record import LayerChange
from convsurgeon.report.lines import share

__all__ = ["changes", "largest", "lines"]

MOST_LAYERS = 8
_Axis = Literal["macs", "params"]
_AXES: tuple[_Axis, ...] = ("macs", "params")


def largest(found: Measured) -> tuple[LayerChange, ...]:
    """The layers with the most MACs, then those with the most parameters."""
    rows = []
    for metric in _AXES:
        sized = sorted(((getattr(layer, metric), layer.name) for layer in found.layers), key=lambda pair: -pair[0])
        rows += [
            LayerChange(metric=metric, layer=name, before=None, now=size) for size, name in sized[:MOST_LAYERS] if size
        ]
    return tuple(rows)


def changes(found: Measured, base: LockedModel) -> tuple[LayerChange, ...]:
    """The layers that differ, by how much: first in MACs, then in parameters."""
    now = {layer.name: layer for layer in found.layers}
    rows: list[LayerChange] = []
    for metric in _AXES:
        changed = []
        for name in dict.fromkeys([*now, *base.layers]):
            before, after = getattr(base.layers.get(name), metric, None), getattr(now.get(name), metric, None)
            if (before or 0) != (after or 0):
                changed.append(LayerChange(metric=metric, layer=name, before=before, now=after))
        rows += sorted(changed, key=lambda row: -abs((row.now or 0) - (row.before or 0)))
    return tuple(rows)


def lines(rows: tuple[LayerChange, ...], totals: dict[str, int], compared: bool) -> list[str]:
    """One line per layer, the most responsible first, ``MOST_LAYERS`` for each metric."""
    texts: list[str] = []
    for metric, title in (("macs", "MACs"), ("params", "params")):
        own = [row for row in rows if row.metric == metric]
        for row in own[:MOST_LAYERS]:
            texts.append(f"{title} {_change(row) if compared else _size(row, totals[metric])}")
        if len(own) > MOST_LAYERS:
            texts.append(f"{title} of {len(own) - MOST_LAYERS} more layers changed")
    return texts


def _size(row: LayerChange, total: int) -> str:
    return f"{row.layer}: {row.now or 0:,} ({share(row.now or 0, total)})"


def _change(row: LayerChange) -> str:
    before, now = row.before or 0, row.now or 0
    what = "new, " if row.before is None else "gone, " if row.now is None else ""
    return f"{row.layer}: {what}{now - before:+,} ({before:,} → {now:,})"
