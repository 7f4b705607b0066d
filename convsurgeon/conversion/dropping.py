"""Which residual branches may be dropped, and what the loss of each hurts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.progress import Progress
from convsurgeon.planning.plan_blocks import RESTORED_BY, PlanBlock
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.rules import why_block_kept
from convsurgeon.surgery.drop import branch_parameters, carried_in
from convsurgeon.survey.streams import Block
from convsurgeon.transfer import Calibration
from convsurgeon.transfer.drop_damage import measure_drops
from convsurgeon.transfer.stream_damage import StreamSettings

__all__ = ["with_blocks"]

_NO_INPUTS = "dropping needs calibration inputs (--calibrate DIR)"
_TOO_FEW = "the calibration inputs are too few to tell what its loss would hurt"


def with_blocks(model: nn.Module, problem: Problem, data: Calibration | None, progress: Progress) -> Problem:
    """The problem with the residual branches that may be dropped, and why the others stay."""
    asked = dict(_asked(problem))
    if data is None or not problem.comparable:
        reason = _NO_INPUTS if data is None else _TOO_FEW
        return problem.dropping(PlanBlock.closed(block, asked[block] or reason) for block in asked)
    closed = {block.name: PlanBlock.closed(block, reason) for block, reason in asked.items() if reason is not None}
    offers = [row for block, reason in asked.items() if reason is None for row in _offers(model, problem, block)]
    settings = StreamSettings(seed=problem.recipe.seed, directory=cache_directory())
    fingerprint = problem.survey.fingerprint()
    damages = measure_drops(
        model,
        offers,
        data,
        fingerprint=fingerprint,
        at_outputs=problem.judged_at_outputs,
        settings=settings,
        progress=progress,
    )
    for row, damage in zip(offers, damages, strict=True):
        if damage is None:
            closed[row.block.name] = PlanBlock.closed(row.block, _TOO_FEW)
    rated = [row.model_copy(update={"damage": damage}) for row, damage in zip(offers, damages, strict=True)]
    open_ones = [row for row in rated if row.block.name not in closed]
    order = [block.name for block in asked]
    return problem.dropping(sorted([*open_ones, *closed.values()], key=lambda row: order.index(row.block.name)))


def _asked(problem: Problem) -> Iterator[tuple[Block, str | None]]:
    """The branches of the model, and why moves or rules leave them."""
    sites = {site.name: site for site in problem.survey.sites}
    for block in problem.survey.blocks:
        yield block, block.closed or why_block_kept(block, sites, problem.recipe.rules)


def _offers(model: nn.Module, problem: Problem, block: Block) -> Iterator[PlanBlock]:
    """One row for each stand-in."""
    survey = problem.survey
    priced = {*(site.name for site in survey.sites), *(linear.name for linear in survey.linears)}
    others, carried = branch_parameters(model, block, priced), carried_in(model, block, problem.streams)
    for kind in RESTORED_BY if block.channels > 1 else RESTORED_BY[:1]:
        row = PlanBlock(block=block, action="kept", reason="", restored_by=kind, others=others, carried=carried)
        yield row.as_dropped(True)
