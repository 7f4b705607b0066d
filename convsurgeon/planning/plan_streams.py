"""Rows of a plan for streams of channels, and for the linear layers at their ends or in residual branches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import model_validator

from convsurgeon.base.records import Record
from convsurgeon.families.cost import Cost
from convsurgeon.planning.channel_ranges import read_channels, write_channels
from convsurgeon.planning.cost_record import CostRecord
from convsurgeon.planning.narrow_shapes import narrowed_conv_cost
from convsurgeon.survey.linears import LinearLayer
from convsurgeon.survey.streams import Stream

__all__ = ["Gone", "PlanLinear", "PlanStream", "StreamAction"]

# More than any layer has: a file must not make us count for hours.
_MOST_CHANNELS = 1 << 20

StreamAction = Literal["narrowed", "kept", "closed"]


class PlanStream(Record):
    """What happens to one stream of channels. To change it, edit ``kept``: ranges of channels, e.g. ``0-15,17``.

    ``carried`` are the parameters that its norms hold for each channel, ``damage`` what was estimated for all streams
    that change together with it, on the first of their rows.
    """

    stream: Stream
    action: StreamAction
    reason: str
    kept: str
    carried: int
    damage: float | None = None

    @model_validator(mode="after")
    def _keeps_channels_it_has(self) -> PlanStream:
        if not 0 < self.stream.channels <= _MOST_CHANNELS:
            raise ValueError(f"stream '{self.stream.name}' has {self.stream.channels} channels; expected 1 or more")
        if self.gone and self.action == "closed":
            raise ValueError(f"stream '{self.stream.name}' is 'closed' but keeps {self.kept} only")
        return self

    @classmethod
    def of(cls, stream: Stream, kept: Sequence[int], carried: int, damage: float | None) -> PlanStream:
        """The row of an open stream that keeps the channels ``kept``, ascending."""
        action, reason = _fate(stream, len(kept))
        text = write_channels(kept)
        return cls(stream=stream, action=action, reason=reason, kept=text, carried=carried, damage=damage)

    def described_anew(self) -> PlanStream:
        """The row with action and reason that go with what it keeps; a damage of another width is dropped."""
        action, reason = _fate(self.stream, len(self.channels))
        if self.action == "closed" or (action, reason) == (self.action, self.reason):
            return self
        return self.model_copy(update={"action": action, "reason": reason, "damage": None})

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels that stay, ascending."""
        return read_channels(self.kept, self.stream.channels)

    @property
    def gone(self) -> int:
        """How many channels are taken away."""
        return self.stream.channels - len(self.channels)

    @property
    def cost(self) -> Cost:
        """What its norms lose, as a cost below zero."""
        return Cost(0, -self.gone * self.carried)


def _fate(stream: Stream, kept: int) -> tuple[StreamAction, str]:
    """Action and reason of a stream that keeps so many channels."""
    if kept == stream.channels:
        return "kept", "the target is met without it"
    return "narrowed", f"{stream.channels} → {kept} channels"


class PlanLinear(Record):
    """A linear layer at the end of streams, or in a residual branch that may be dropped: what is left of it."""

    layer: LinearLayer
    in_features: int
    out_features: int
    before: CostRecord
    after: CostRecord

    @classmethod
    def of(cls, layer: LinearLayer, gone: tuple[int, int], *, dropped: bool = False) -> PlanLinear:
        """The row of a layer that loses ``gone`` inputs and outputs, or all of them where it is dropped."""
        if dropped:
            nothing = CostRecord(macs=0, params=0)
            return cls(layer=layer, in_features=0, out_features=0, before=CostRecord.of(layer.cost), after=nothing)
        return cls(
            layer=layer,
            in_features=layer.in_features - gone[0],
            out_features=layer.out_features - gone[1],
            before=CostRecord.of(layer.cost),
            after=CostRecord.of(narrowed_conv_cost(layer.cost, layer.shape, gone, layer.positions)),
        )


class Gone:
    """How many inputs and outputs each layer loses, by its name, and how many channels each stream: ``by_stream``."""

    def __init__(self, streams: Iterable[PlanStream]) -> None:
        streams = tuple(streams)
        self.by_stream = {row.stream.name: row.gone for row in streams}
        self._layers: dict[str, tuple[int, int]] = {}
        for row in streams:
            for name, each_in, each_out in row.stream.ends:
                inputs, outputs = self.of(name)
                self._layers[name] = inputs + row.gone * each_in, outputs + row.gone * each_out

    def of(self, layer: str) -> tuple[int, int]:
        """Inputs and outputs that are gone."""
        return self._layers.get(layer, (0, 0))
