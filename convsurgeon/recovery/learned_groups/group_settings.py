"""How groups are learned, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.base.errors import UsageError
from convsurgeon.recovery.learned_groups.budget import Weighting

__all__ = ["GroupSettings"]


@dataclass(frozen=True)
class GroupSettings:
    """How gates learn.

    Attributes:
        learn_share: the share of all steps in which gates learn; the remaining steps tune the weights alone.
        freeze_from: the share of the learning steps after which gates begin to freeze, the most decided first.
        travel: how far a gate with the network's typical gradient moves while gates learn (they begin at 0.5 if open
            and −0.5 if closed), which is their own learning rate. At 0 they keep the choice they begin at: in
            distillation, whose loss starts at 0, gradients know less of gates than that choice does.
        exponent: a of the published factor [o/ζ]^a.
        offset: added to the loss before it is multiplied, because distillation starts at a loss of 0, where a factor
            alone pulls at nothing; 0 gives the published product.
        weighting: what ζ counts; see ``Weighting``.
    """

    learn_share: float = 0.25
    freeze_from: float = 0.5
    travel: float = 0.0
    exponent: float = -0.02
    offset: float = 1.0
    weighting: Weighting = "cost"

    def __post_init__(self) -> None:
        for name in ("learn_share", "freeze_from"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise UsageError(f"{name} is {value}; expected a share above 0 and at most 1.")
        if self.travel < 0 or self.exponent > 0 or self.offset < 0:
            raise UsageError(
                f"travel is {self.travel}, exponent {self.exponent} and offset {self.offset}; expected travel and "
                "offset not below 0, and exponent not above 0, so that cost over the budget raises the loss."
            )
