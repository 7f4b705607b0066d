"""Whether a plan's streams and residual branches, and the linear layers that they change, are those of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.plan_streams import PlanLinear, PlanStream

if TYPE_CHECKING:
    from convsurgeon.survey.sites import Survey

__all__ = ["check_blocks", "check_streams"]


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


def check_blocks(blocks: Sequence[PlanBlock], linears: Sequence[PlanLinear], survey: Survey) -> None:
    """Refuse residual branches that the model does not have, or not so.

    Raises:
        UnknownName: a branch that is not the model's; names the first.
        UsageError: a branch that can't be dropped, or a linear layer of it without its row.
    """
    found = {block.name: block for block in survey.blocks}
    listed = {row.layer.name for row in linears}
    for row in blocks:
        block, name = found.get(row.block.name), row.block.name
        if block is None:
            raise UnknownName(f"the plan was made for another model: residual branch '{name}' is not in this one.")
        if row.action != "dropped":
            continue
        if block.closed is not None:
            raise UsageError(f"the plan drops residual branch '{name}', which has to stay: {block.closed}.")
        if block != row.block:
            raise UnknownName(
                f"residual branch '{name}' of the plan has other layers, parts or channels than this model's. "
                "Edit only 'action' and 'restored_by', or make a new plan."
            )
        for linear in survey.linears:
            if linear.name in block.modules and linear.name not in listed:
                raise UsageError(
                    f"the plan drops residual branch '{name}' but has no row in linears for '{linear.name}', which "
                    "goes with it; make a new plan."
                )


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
