"""Which candidates of a site no budget can want, since another one costs no more in anything and loses less."""

from __future__ import annotations

from collections.abc import Mapping

from convsurgeon.families.family import Spec

__all__ = ["Costs", "beaten"]

Costs = Mapping[Spec, tuple[int, ...]]


def beaten(spec: Spec, least: float, errors: Mapping[Spec, float], costs: Costs) -> bool:
    """Whether one of the specs with measured ``errors`` beats one that loses at ``least`` so much.

    ``costs`` are all that budgets are in; a spec without any is beaten by none and beats none.
    """
    return spec in costs and any(
        error < least and all(theirs <= mine for theirs, mine in zip(costs[other], costs[spec], strict=True))
        for other, error in errors.items()
        if other in costs
    )
