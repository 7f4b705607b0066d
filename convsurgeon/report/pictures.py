"""Pictures of a report: SVGs that stand alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convsurgeon.base.files import write_whole
from convsurgeon.planning.targets import human
from convsurgeon.report.chart import Bar, bars, standalone
from convsurgeon.report.record import Report

__all__ = ["Picture", "layer_picture"]


@dataclass(frozen=True)
class Picture:
    """An SVG that notebooks show by themselves; ``str`` is its text."""

    svg: str

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Picture({len(self.svg):,} signs of SVG)"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Path | str) -> Path:
        """Write it to a file, whole or not at all; a file of that name is replaced.

        Raises:
            UsageError: there is no room, or something that is no file.
        """
        write_whole(Path(path), self.svg)
        return Path(path)


def layer_picture(report: Report) -> Picture:
    """MACs of one forward, layer by layer, before and after."""
    rows = [
        Bar(
            f"{layer.name} ({layer.reason})" if layer.action == "replaced" else layer.name,
            layer.before.macs,
            layer.after.macs,
            f"{human(layer.before.macs)} → {human(layer.after.macs)}"
            if layer.before != layer.after
            else human(layer.before.macs),
        )
        for layer in report.plan.layers
    ]
    return Picture(standalone(bars(rows, title=f"{report.plan.model} with {report.plan.method}: MACs by layer")))
