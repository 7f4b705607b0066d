"""What the benchmarks ask of conversions: a target that can be reached, and whether two plans are one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

import convsurgeon
from convsurgeon.families import parse_method
from convsurgeon.planning.options import candidates
from convsurgeon.planning.plan import Plan

__all__ = ["plan_key", "reachable"]


def reachable(model: nn.Module, example: Any, method: str, share: float) -> str:
    """``macs=…``: the share, or the least that the method reaches by swaps."""
    found = convsurgeon.inspect(model, example)
    choices = candidates(found.sites, parse_method(method).under_target(), convsurgeon.Rules())
    least = found.total.macs - sum(
        c.site.cost.macs - min(option.cost.macs for option in c.options) for c in choices if c.options
    )
    return f"macs={max(int(share * found.total.macs), least)}"


def plan_key(plan: Plan, fitted: str = "calibrated") -> str:
    """What the plan puts where, and the word for how it is fitted, as 16 hexadecimal digits."""
    specs = [(row.name, row.spec.model_dump_json() if row.spec else "") for row in plan.layers]
    specs += [(row.stream.name, row.kept) for row in plan.narrowed]
    return hashlib.sha256(json.dumps([fitted, specs]).encode()).hexdigest()[:16]
