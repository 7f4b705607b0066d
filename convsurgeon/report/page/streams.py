"""What became of the streams of channels, as a section of a conversion's page."""

from __future__ import annotations

from convsurgeon.report.lines import stream_lines
from convsurgeon.report.page.blocks import Section, Table
from convsurgeon.report.record import Report

__all__ = ["stream_sections"]


def stream_sections(report: Report) -> tuple[Section, ...]:
    """A row for every stream; nothing where the plan has none."""
    if not report.plan.streams:
        return ()
    table = Table(
        "Every stream of channels: who writes it, who reads it, and the error left in what reads it.",
        ("stream", "kept", "became, or why not", "written by", "read by, error left"),
        tuple(stream_lines(report)),
        marks=tuple(row.action for row in report.plan.streams),
    )
    return (Section("Streams of channels", (table,)),)
