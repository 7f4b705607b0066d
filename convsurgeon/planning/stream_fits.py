"""Whether a plan's streams, and the linear layers at their ends, are those of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.planning.plan_streams import PlanLinear, PlanStream

if TYPE_CHECKING:
    from convsurgeon.survey.sites import Survey

__all__ = ["check_streams"]


def check_streams(streams: Sequence[PlanStream], linears: Sequence[PlanLinear], survey: Survey) -> None:
    """Refuse streams that the model does not have, or not so.

    Raises:
        UnknownName: a stream or linear layer that is not the model's; names the first.
        UsageError: a stream that can't be narrowed, or a linear layer without its row.
    """
    found = {stream.name: stream for stream in survey.streams}
    for row in streams:
        stream, name = found.get(row.stream.name), row.stream.name
        if stream is None:
            raise UnknownName(f"the plan was made for another model: stream '{name}' is not in this one.")
        if replace(stream, closed=None) != replace(row.stream, closed=None):
            raise UnknownName(
                f"stream '{name}' of the plan has other channels, producers, carriers or readers than this model's. "
                "Edit only what is 'kept', or make a new plan."
            )
        if row.gone and stream.closed is not None:
            raise UsageError(f"the plan narrows stream '{name}', which has to stay: {stream.closed}.")
    _check_linears(streams, linears, survey)


def _check_linears(streams: Iterable[PlanStream], rows: Sequence[PlanLinear], survey: Survey) -> None:
    """Their costs are priced from these rows."""
    listed = [row.layer.name for row in rows]
    found = {linear.name: linear for linear in survey.linears}
    for row in rows:
        if found.get(row.layer.name) != row.layer or listed.count(row.layer.name) > 1:
            raise UnknownName(
                f"the plan's row for the linear layer '{row.layer.name}' is not this model's, or there twice. "
                "Edit only what streams have 'kept', or make a new plan."
            )
    for stream in streams:
        for name in stream.stream.members if stream.gone else ():
            if name in found and name not in listed:
                raise UsageError(
                    f"the plan narrows stream '{stream.stream.name}' but has no row in linears for '{name}', which "
                    "it changes; make a new plan."
                )
