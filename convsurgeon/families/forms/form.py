"""A form: one way to compute what an absorbed unit computes, with equal outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from convsurgeon.families.forms.absorbed import Absorbed, in_order
from convsurgeon.families.forms.pieces import Gather

__all__ = ["Form"]


@dataclass(frozen=True)
class Form:
    """One way to compute a unit.

    Attributes:
        name: what it consists of, in words.
        build: makes the module from the unit and what it absorbed; its channels come out in ``order``.
        order: for each channel that comes out, the unit's; None: any order, the weights take it in.
        reads: for each channel that it wants to read, the unit's input channel; None: any order.
    """

    name: str
    build: Callable[[Absorbed], nn.Module]
    order: Tensor | None = None
    reads: Tensor | None = None

    def realise(self, absorbed: Absorbed) -> nn.Module:
        """The module, with channels gathered before and after where their order was not absorbed elsewhere."""
        steps: list[nn.Module] = []
        if self.reads is not None:
            steps.append(Gather(absorbed.reads[self.reads]))
        steps.append(self.build(absorbed))
        if self.order is not None:
            steps.append(Gather(self.order.argsort()[absorbed.writes]))
        needed = [step for step in steps if not (isinstance(step, Gather) and in_order(step.order))]
        return needed[0] if len(needed) == 1 else nn.Sequential(*needed)
