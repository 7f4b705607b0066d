"""Costs in files."""

from __future__ import annotations

from convsurgeon.base.records import Record
from convsurgeon.families.cost import Cost

__all__ = ["CostRecord"]


class CostRecord(Record):
    """MACs and parameters, exact."""

    macs: int
    params: int

    @classmethod
    def of(cls, cost: Cost) -> CostRecord:
        """From a Cost."""
        return cls(macs=cost.macs, params=cost.params)

    def cost(self) -> Cost:
        """As a Cost."""
        return Cost(self.macs, self.params)
