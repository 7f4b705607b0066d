"""What of streams and residual branches is chosen together, against exhaustive search."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon.base.errors import TargetError
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_blocks import RESTORED_BY
from tests.surgery.branches import Residual, edited, planned, posed

NETS = [Residual([0, 1]), Residual([2, 0]), Residual([1, 1])]


@cache
def _plan(number: int) -> Plan:
    return planned(NETS[number])


@cache
def _all_plans(number: int) -> list[tuple[tuple[str, ...], int]]:
    """What is done to branches and streams, every combination, as names of damages, and its MACs."""
    plan = _plan(number)
    names = [row.block.name for row in plan.blocks]
    streams = {row.stream.name: row.stream.channels for row in plan.streams if row.action != "closed"}
    found = []
    for ways in itertools.product((None, *RESTORED_BY), repeat=len(names)):
        dropped = {name: way for name, way in zip(names, ways, strict=True) if way is not None}
        for halved in itertools.chain(*(itertools.combinations(streams, n) for n in range(len(streams) + 1))):
            kept = {name: range(streams[name] // 2) for name in halved}
            done = (*(f"{name} {way}" for name, way in dropped.items()), *halved)
            found.append((done, edited(plan, dropped, kept).after.macs))
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(NETS) - 1), st.integers(10, 100), st.data())
def test_exhaustive_search_agrees(number: int, percent: int, data: st.DataObject) -> None:
    """Of all sets of branches and widths within the target the plan has the least damage, or none is within it."""
    plan = _plan(number)
    ways = [f"{row.block.name} {way}" for row in plan.blocks for way in RESTORED_BY]
    names = [*ways, *(row.stream.name for row in plan.streams)]
    damage = {name: data.draw(st.floats(1e-3, 100), label=name) for name in names}
    limit = percent * plan.before.macs // 100
    within = [done for done, macs in _all_plans(number) if macs <= limit]
    problem = posed(NETS[number], f"macs={percent}%", damage)
    if not within:
        with pytest.raises(TargetError):
            make_plan(problem)
        return
    best = min(sum(damage[name] for name in done) for done in within)
    found = make_plan(problem)
    assert found.after.macs <= limit
    assert found.damage <= best * (1 + 2e-3) + 1e-9
    assert edited(found, {row.block.name: row.restored_by for row in found.dropped}, {}) == found
