"""Rows of a plan for residual branches that may be dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from pydantic import Field, NonNegativeInt, model_validator

from convsurgeon.base.records import Record
from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.survey.streams import Block

__all__ = ["RESTORED_BY", "BlockAction", "PlanBlock", "RestoredBy", "dropped_layers", "goes_with"]

BlockAction = Literal["dropped", "kept", "closed"]
# scale: a scale and a shift for each channel, a depthwise 1×1 convolution. map: a dense one.
RestoredBy = Literal["scale", "map"]
RESTORED_BY: tuple[RestoredBy, ...] = get_args(RestoredBy)
_WORDS = {"scale": "a scale and a shift for each channel", "map": "a 1×1 convolution"}


class PlanBlock(Record):
    """What happens to one residual branch. To change it, edit ``action``, ``dropped`` or ``kept``, and ``restored_by``,
    ``scale`` or ``map``: what stands in for a dropped one.

    ``others`` are the parameters of its layers that are neither convolutions nor linear layers, ``carried`` those of
    them that belong to each channel of a stream, by its name; ``damage`` is what was estimated for its loss.
    """

    block: Block
    action: BlockAction
    reason: str
    restored_by: RestoredBy = "scale"
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
        """The row of a branch that has to stay."""
        return cls(block=block, action="closed", reason=reason)

    def as_dropped(self, dropped: bool) -> PlanBlock:
        """The row with what goes with being dropped or not; a damage that is not done is left out."""
        if self.action == "closed":
            return self
        if not dropped:
            return self.model_copy(update={"action": "kept", "reason": "the target is met without it", "damage": None})
        reason = f"{len(self.block.modules)} layers give way to {_WORDS[self.restored_by]}"
        edited = (self.action, self.reason) != ("dropped", reason)
        damage = None if edited else self.damage
        return self.model_copy(update={"action": "dropped", "reason": reason, "damage": damage})

    @property
    def label(self) -> str:
        """What the solver calls the choice."""
        return f"drop:{self.block.name}"

    @property
    def choice(self) -> tuple[str, int]:
        """The label of the choice that this row, of a branch that may be dropped, stands for."""
        return self.label, 1 + RESTORED_BY.index(self.restored_by)

    def left(self, gone: Mapping[str, int]) -> ConvShape:
        """What stands in for the branch once each stream has lost so many channels."""
        channels, one = self.block.channels - gone.get(self.block.stream or "", 0), (1,) * self.block.axes
        return ConvShape(
            in_channels=channels,
            out_channels=channels,
            kernel=one,
            stride=one,
            padding=(0,) * self.block.axes,
            dilation=one,
            groups=channels if self.restored_by == "scale" else 1,
            bias=True,
        )

    def cost(self, gone: Mapping[str, int]) -> Cost:
        """What comes less what goes beside convolutions and linear layers; ``gone``: channels that streams lose."""
        lost = sum(gone.get(stream, 0) * each for stream, each in self.carried.items())
        return self.left(gone).cost(self.block.positions) - Cost(0, self.others - lost)


def dropped_layers(blocks: Iterable[PlanBlock]) -> dict[str, str]:
    """The residual branch that each layer goes with, by the layer's name."""
    return {name: row.block.name for row in blocks if row.action == "dropped" for name in row.block.modules}


def goes_with(branch: str) -> str:
    """Why a layer is dropped, in words."""
    return f"residual branch '{branch}' is left out"
