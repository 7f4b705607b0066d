"""Rows of a plan for residual branches that may be dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, NonNegativeInt, model_validator

from convsurgeon.base.records import Record
from convsurgeon.families.cost import Cost, conv_cost
from convsurgeon.survey.streams import Block

__all__ = ["BlockAction", "PlanBlock"]

BlockAction = Literal["dropped", "kept", "closed"]


class PlanBlock(Record):
    """What happens to one residual branch. To change it, edit ``action``: ``dropped`` or ``kept``.

    A dropped branch leaves a scale and a shift for each channel behind, a depthwise 1×1 convolution. ``others`` are the
    parameters of its layers that are neither convolutions nor linear layers, ``carried`` those of them that belong to
    each channel of a stream, by its name; ``damage`` is what was estimated for its loss.
    """

    block: Block
    action: BlockAction
    reason: str
    others: NonNegativeInt = 0
    carried: dict[str, NonNegativeInt] = Field(default_factory=dict)
    damage: float | None = None

    @model_validator(mode="after")
    def _has_parts(self) -> PlanBlock:
        if self.action == "dropped" and not (self.block.parts and self.block.channels > 0 and self.block.axes > 0):
            raise ValueError(f"branch '{self.block.name}' is 'dropped' but has no parts; a 'closed' one has to stay")
        return self

    @classmethod
    def closed(cls, block: Block, reason: str) -> PlanBlock:
        """Of a branch that has to stay."""
        return cls(block=block, action="closed", reason=reason)

    def as_dropped(self, dropped: bool) -> PlanBlock:
        """The row with what goes with being dropped or not; a damage that is not done is left out."""
        if self.action == "closed":
            return self
        if not dropped:
            return self.model_copy(update={"action": "kept", "reason": "the target is met without it", "damage": None})
        reason = f"{len(self.block.modules)} layers give way to a scale and a shift for each channel"
        return self.model_copy(update={"action": "dropped", "reason": reason})

    @property
    def label(self) -> str:
        """What the solver calls the choice."""
        return f"drop:{self.block.name}"

    def cost(self, gone: Mapping[str, int]) -> Cost:
        """What comes less what goes beside convolutions and linear layers; ``gone``: channels that streams lose."""
        left = self.block.channels - gone.get(self.block.stream or "", 0)
        unit = conv_cost(left, left, 1, groups=left, bias=True, positions=self.block.positions)
        lost = sum(gone.get(stream, 0) * each for stream, each in self.carried.items())
        return unit - Cost(0, self.others - lost)
