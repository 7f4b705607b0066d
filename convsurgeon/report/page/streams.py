"""What became of streams of channels and of residual branches, as sections of a conversion's page."""

from __future__ import annotations

from convsurgeon.report.lines import block_lines, stream_lines
from convsurgeon.report.page.blocks import Section, Table
from convsurgeon.report.record import Report

__all__ = ["block_sections", "stream_sections"]


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


def block_sections(report: Report) -> tuple[Section, ...]:
    """A row for every residual branch; nothing where the plan has none."""
    if not report.plan.blocks:
        return ()
    table = Table(
        "Every residual branch that keeps its shape, and the error left in what it gave where it is dropped.",
        ("residual branch", "layers", "became, or why not", "error left"),
        tuple(block_lines(report)),
        marks=tuple(row.action for row in report.plan.blocks),
    )
    return (Section("Residual branches", (table,)),)
