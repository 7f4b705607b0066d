"""What ``recover(..., learn_groups=…, target=…)`` and ``--learn-groups --target …`` ask for."""

from __future__ import annotations

from collections.abc import Iterable

from convsurgeon.base.errors import UsageError
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.targets import parse_targets
from convsurgeon.recovery.learned_groups.group_settings import GroupSettings
from convsurgeon.recovery.learned_groups.learn import LearnedGroups

__all__ = ["requested"]


def requested(
    plan: Plan | None, learn_groups: bool | GroupSettings, target: str | Iterable[str] | None
) -> tuple[LearnedGroups, ...]:
    """One ``LearnedGroups`` if it was asked for, else none; ``plan`` is None for a bare module.

    Raises:
        UsageError: a target without ``learn_groups``, or ``learn_groups`` without a plan.
        TargetError: see ``GroupBudget.of``.
    """
    if not learn_groups:
        if target is not None and parse_targets(target):
            raise UsageError(
                "a target of recover is the budget of learned groups: add learn_groups=True (--learn-groups), "
                "or give the target to 'convert'."
            )
        return ()
    if plan is None:
        raise UsageError(
            "learning groups needs the plan, and a bare module has none: pass what convert(..., method='dgconv') "
            "returned, or its folder."
        )
    settings = learn_groups if isinstance(learn_groups, GroupSettings) else None
    return (LearnedGroups(plan, parse_targets(target), settings),)
