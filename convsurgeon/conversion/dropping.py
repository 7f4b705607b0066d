"""Which residual branches may be dropped, and what the loss of each hurts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.progress import Progress
from convsurgeon.planning.plan_blocks import PlanBlock
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
    open_ones = [block for block, reason in asked.items() if reason is None]
    if data is None or not problem.comparable:
        reason = _NO_INPUTS if data is None else _TOO_FEW
        return problem.dropping(PlanBlock.closed(block, asked[block] or reason) for block in asked)
    settings = StreamSettings(seed=problem.recipe.seed, directory=cache_directory())
    fingerprint = problem.survey.fingerprint()
    found = measure_drops(model, open_ones, data, fingerprint=fingerprint, settings=settings, progress=progress)
    return problem.dropping(
        PlanBlock.closed(block, reason or _TOO_FEW)
        if reason is not None or found[block.name] is None
        else _offer(model, problem, block, found[block.name])
        for block, reason in asked.items()
    )


def _asked(problem: Problem) -> Iterator[tuple[Block, str | None]]:
    """The branches of the model, and why moves or rules leave them."""
    sites = {site.name: site for site in problem.survey.sites}
    for block in problem.survey.blocks:
        yield block, block.closed or why_block_kept(block, sites, problem.recipe.rules)


def _offer(model: nn.Module, problem: Problem, block: Block, damage: float | None) -> PlanBlock:
    survey = problem.survey
    priced = {*(site.name for site in survey.sites), *(linear.name for linear in survey.linears)}
    row = PlanBlock(
        block=block,
        action="kept",
        reason="",
        others=branch_parameters(model, block, priced),
        carried=carried_in(model, block, problem.streams),
        damage=damage,
    )
    return row.as_dropped(True)
