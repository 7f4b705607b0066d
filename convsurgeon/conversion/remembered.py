"""What a network of this process was converted by, for as long as it lives: a module alone does not say."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import nn

from convsurgeon.models.rebuild import Rebuild
from convsurgeon.planning.plan import Plan
from convsurgeon.report.record import Report

__all__ = ["Facts", "known_facts", "remember"]


@dataclass(frozen=True)
class Facts:
    """A conversion without its network."""

    plan: Plan
    report: Report
    rebuild: Rebuild | None


_FACTS: WeakKeyDictionary[nn.Module, Facts] = WeakKeyDictionary()


def remember(network: nn.Module, facts: Facts) -> None:
    """Keep the facts of a network that was loaded or converted."""
    _FACTS[network] = facts


def known_facts(network: nn.Module) -> Facts | None:
    """What is known of a network; None for one that was made or copied elsewhere."""
    return _FACTS.get(network)
