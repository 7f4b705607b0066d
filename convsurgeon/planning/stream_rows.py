"""The rows of a plan that say what becomes of streams of channels and of residual branches."""

from __future__ import annotations

from convsurgeon.planning.channel_ranges import write_channels
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.plan_streams import PlanStream
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.widths import Labels, Widths
from convsurgeon.survey.streams import Stream

__all__ = ["block_rows", "stream_rows"]


def stream_rows(problem: Problem, labels: Labels) -> tuple[PlanStream, ...]:
    """One row for each stream, those that can't be narrowed last."""
    chosen = dict(labels)
    rows = [row for widths in problem.widths for row in _rows(widths, chosen.get(widths.name, 0))]
    return (*rows, *(_whole(stream) for stream in problem.closed))


def block_rows(problem: Problem, labels: Labels) -> tuple[PlanBlock, ...]:
    """One row for each residual branch, where they may be dropped at all."""
    kept = {row.block.name: row.as_dropped(False) for row in problem.blocks}
    return tuple((kept | {row.block.name: row for row in problem.drops if row.choice in labels}).values())


def _rows(widths: Widths, number: int) -> list[PlanStream]:
    """The rows of streams that change together; the damage of all of them stands on the first."""
    damages = (widths.damages[number] if number else None, *(None for _ in widths.streams[1:]))
    parts = zip(widths.streams, widths.kept[number], widths.carried, damages, strict=True)
    return [PlanStream.of(stream, kept, carried, damage) for stream, kept, carried, damage in parts]


def _whole(stream: Stream) -> PlanStream:
    every = write_channels(range(stream.channels))
    return PlanStream(stream=stream, action="closed", reason=stream.closed or "", kept=every, carried=0)
