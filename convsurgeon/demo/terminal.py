"""The demonstration's one table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.demo.record import DemoReport, DemoRow
from convsurgeon.planning.targets import human

__all__ = ["render"]


def render(report: DemoReport) -> RenderableType:
    """A row for each method, read from left to right, and the sentences that say how it was measured."""
    table = Table(title=f"a small ResNet on 8×8 digits, {report.target}", title_justify="left", header_style="bold")
    table.add_column("method")
    stages = ("after\nsurgery", "after\ncalibration", "after\nrecovery")
    for title in ("original", *stages, "MACs", "params", "latency"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells(row, report))
    return Group(table, *(Text(line) for line in _lines(report)))


def _cells(row: DemoRow, report: DemoReport) -> tuple[str, ...]:
    return (
        row.method,
        _share(report.accuracy),
        _share(row.surgery),
        "–" if row.calibration is None else _share(row.calibration),
        _share(row.recovery),
        _share(row.after.macs / report.before.macs),
        _share(row.after.params / report.before.params),
        _share(row.latency),
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _lines(report: DemoReport) -> list[str]:
    return [
        f"original: {human(report.before.macs)} MACs for one image, {human(report.before.params)} params, "
        f"{report.latency_ms:.1f} ms for {report.batch} images; MACs, params and latency are what is kept of that.",
        f"accuracy: top-1 on {report.test_images} test images, of which one is {100 / report.test_images:.2f} points. "
        f"The {report.train_images:,} train images serve the rest, without their labels.",
        "surgery: fresh weights; learned groups start with open gates, equal to the original. "
        f"calibration: closed form on {report.calibration_images} images.",
        f"recovery: {report.recovery_steps} steps of distillation ({report.learning_steps} where groups are learned), "
        f"{report.batch} images each.",
        f"latency: median of one forward of {report.batch} images, all timed in turn; {report.place}.",
        "Timed plans leave out swaps that do not pay on this machine.",
        f"one MAC = one multiply-accumulate. All of this took {report.seconds:.0f} s.",
    ]
