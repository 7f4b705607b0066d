"""The rows of a plan that say what becomes of the streams of channels."""

from __future__ import annotations

from convsurgeon.planning.channel_ranges import write_channels
from convsurgeon.planning.plan_streams import PlanStream
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.widths import Labels, Widths
from convsurgeon.survey.streams import Stream

__all__ = ["stream_rows"]


def stream_rows(problem: Problem, labels: Labels) -> tuple[PlanStream, ...]:
    """One row for each stream, those that can't be narrowed last."""
    chosen = dict(labels)
    rows = [row for widths in problem.widths for row in _rows(widths, chosen.get(widths.name, 0))]
    return (*rows, *(_whole(stream) for stream in problem.closed))


def _rows(widths: Widths, number: int) -> list[PlanStream]:
    rows = []
    for position, stream in enumerate(widths.streams):
        kept = widths.kept[number][position]
        gone = stream.channels - len(kept)
        rows.append(
            PlanStream(
                stream=stream,
                action="narrowed" if gone else "kept",
                reason=f"{stream.channels} → {len(kept)} channels" if gone else "the target is met without it",
                kept=write_channels(kept),
                carried=widths.carried[position],
                damage=widths.damages[number] if position == 0 and gone else None,
            )
        )
    return rows


def _whole(stream: Stream) -> PlanStream:
    every = write_channels(range(stream.channels))
    return PlanStream(stream=stream, action="closed", reason=stream.closed or "", kept=every, carried=0)
