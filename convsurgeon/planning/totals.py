"""What a model and its layers come to in each metric, as the solver counts it."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.families.cost import Cost
from convsurgeon.planning.latencies import Latencies
from convsurgeon.planning.menus import Menu, Pick, Price
from convsurgeon.planning.solver import Option
from convsurgeon.planning.targets import Target

__all__ = ["Whole", "as_options", "costs_now", "limits_for"]


@dataclass(frozen=True)
class Whole:
    """The whole model, and what its layers add to it, in every metric."""

    cost: Cost
    latencies: Latencies | None

    @property
    def latency_ns(self) -> int | None:
        """The original's measured time; None where it was not timed."""
        return None if self.latencies is None else self.latencies.total_ns

    def of(self, target: Target) -> int:
        """The original's value in a target's metric."""
        return target.of(self.cost, self.latency_ns)

    def spared(self, target: Target) -> int:
        """What the layers must cost less in sum, for the model to keep within the target."""
        limit = target.limit(self.cost, self.latency_ns)
        if target.metric == "latency" and self.latencies is not None:
            return self.latencies.needed(limit)
        return self.of(target) - limit

    def less(self, target: Target, spared: int) -> int:
        """The model's value once its layers cost ``spared`` less."""
        if target.metric == "latency" and self.latencies is not None:
            return self.latencies.predicted(spared) or 0
        return self.of(target) - spared

    def part(self, target: Target, pick: Pick) -> int:
        """One part's value; layers without options stay, and count as nothing where they were not timed."""
        if target.metric != "latency" or self.latencies is None:
            return target.of(pick.cost)
        if pick.site is None:
            return 0
        took = self.latencies.of(pick.site, pick.candidate.spec if pick.candidate else None) or 0
        return took if pick.branch is None else round(pick.share * took)

    def price(self, targets: tuple[Target, ...]) -> Price:
        """What a part costs, for each target."""
        return lambda pick: tuple(self.part(target, pick) for target in targets)


def as_options(menus: list[Menu], targets: tuple[Target, ...], whole: Whole) -> list[list[Option]]:
    """Menus as the solver takes them."""
    price = whole.price(targets)
    return [[Option(price(pick), pick.damage, pick.labels) for pick in menu] for menu in menus]


def costs_now(parts: list[list[Option]], targets: tuple[Target, ...]) -> list[int]:
    """What all parts cost as they are, for each target."""
    return [sum(part[0].costs[i] for part in parts) for i in range(len(targets))]


def limits_for(now: list[int], targets: tuple[Target, ...], whole: Whole) -> list[int]:
    """What all parts may cost at most, for each target."""
    return [have - whole.spared(target) for target, have in zip(targets, now, strict=True)]
