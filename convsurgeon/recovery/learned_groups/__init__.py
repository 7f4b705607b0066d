"""Groups learned by training under a network-wide budget (DGConv, Zhang et al., ICCV 2019, arXiv 1908.05867)."""

from __future__ import annotations

from convsurgeon.recovery.learned_groups.budget import GatedLayer, GroupBudget, Weighting
from convsurgeon.recovery.learned_groups.group_settings import GroupSettings
from convsurgeon.recovery.learned_groups.learn import LearnedGroups
from convsurgeon.recovery.learned_groups.projection import closings, project

__all__ = [
    "GatedLayer",
    "GroupBudget",
    "GroupSettings",
    "LearnedGroups",
    "Weighting",
    "closings",
    "project",
]
