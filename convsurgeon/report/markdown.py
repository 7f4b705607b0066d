"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from convsurgeon.base.outside_text import code_in_markdown, in_markdown
from convsurgeon.report.lines import (
    BLOCK_TITLES,
    STREAM_TITLES,
    became,
    block_lines,
    error_left,
    layer_latency,
    result_line,
    share,
    stream_lines,
    summary_lines,
    target_lines,
)
from convsurgeon.report.record import Report

__all__ = ["table", "to_markdown"]


def to_markdown(report: Report) -> str:
    """Totals first, then the sentences, then one row per convolution."""
    totals = table(("", "before", "after", "kept"), summary_lines(report.before, report.after))
    notes = "\n".join(f"- {in_markdown(line)}" for line in target_lines(report))
    timed = any(layer.latency is not None for layer in report.plan.layers)
    rows = [
        (
            code_in_markdown(layer.name),
            in_markdown(layer.was),
            in_markdown(became(layer)),
            f"{layer.before.macs:,}",
            f"{layer.after.macs:,}",
            f"{layer.before.params:,}",
            f"{layer.after.params:,}",
            share(layer.after.macs, layer.before.macs),
            error_left(report, layer),
            *([layer_latency(layer.latency)] if timed else []),
        )
        for layer in report.plan.layers
    ]
    header = (
        "layer",
        "was",
        "became / why not",
        "MACs before",
        "MACs after",
        "params before",
        "params after",
        "MACs kept",
        "error left",
        *(["latency"] if timed else []),
    )
    text = f"# {in_markdown(result_line(report))}\n\n{totals}\n{notes}\n\n{table(header, rows)}"
    return f"{text}{_rows(STREAM_TITLES, stream_lines(report))}{_rows(BLOCK_TITLES, block_lines(report))}"


def _rows(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table behind what is there already; nothing without rows."""
    rows = [(code_in_markdown(name), *(in_markdown(cell) for cell in cells)) for name, *cells in lines]
    return f"\n{table(titles, rows)}" if rows else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
