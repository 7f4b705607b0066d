"""A timekeeper that reads a table instead of a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from convsurgeon import ConvShape
from convsurgeon.base.inputs import Inputs
from convsurgeon.conversion.in_time.layer_calls import LayerCase
from convsurgeon.conversion.in_time.timekeeper import Call
from convsurgeon.families.family import Spec
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.families.unit import CompactConv
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread

PLACE = Place(runtime="eager", precision="float32", device="a table", threads=1, torch="0.0")
POSITIONS = 100
Take = Callable[[ConvShape, Spec | None], int]


def exactly(nanoseconds: int) -> Spread:
    """A spread without any."""
    return Spread(median_ns=nanoseconds, low_ns=nanoseconds, high_ns=nanoseconds, least_ns=nanoseconds, samples=1)


def by_macs(shape: ConvShape, spec: Spec | None) -> int:
    """One nanosecond for every MAC of a hundred positions."""
    dense = shape.in_channels * shape.out_channels * shape.area * POSITIONS
    return dense if spec is None else spec.cost(shape, POSITIONS).macs


@dataclass
class TableKeeper:
    """``take`` is what a layer's call takes; a network takes ``rest`` and its layers, of whose saving it shows a part.

    ``realised`` is that part; ``asked`` notes every layer that was timed, ``built`` counts measured networks.
    """

    take: Take = by_macs
    rest: int = 1_000_000
    realised: float = 1.0
    place_: Place = PLACE
    asked: list[tuple[tuple[int, ...], tuple[Spec | None, ...]]] = field(default_factory=list)
    built: int = 0
    busy: float = 1.0

    def place(self, model: nn.Module) -> Place:
        """Always the same."""
        return self.place_

    def layer(self, conv: nn.Module, case: LayerCase, specs: Sequence[Spec | None]) -> tuple[Spread, ...]:
        """From the table."""
        self.asked.append((case.size, tuple(specs)))
        return tuple(exactly(self.take(conv_shape(conv), spec)) for spec in specs)  # type: ignore[arg-type]

    def whole(self, model: nn.Module, inputs: Inputs, calls: Sequence[Call]) -> tuple[Spread, Spread]:
        """The network, and its layers' times summed; ``busy`` stretches both."""
        alone = sum(call.times * self.take(conv_shape(call.conv), None) for call in calls)  # type: ignore[arg-type]
        return exactly(int(self.busy * self._network(model))), exactly(int(self.busy * alone))

    def networks(self, models: Sequence[nn.Module], inputs: Inputs) -> tuple[Spread, ...]:
        """The rest, and every layer as the table has it."""
        self.built += len(models)
        return tuple(exactly(self._network(model)) for model in models)

    def _network(self, model: nn.Module) -> int:
        total, inside = self.rest, set()
        for module in model.modules():
            if isinstance(module, CompactConv):
                inside.update(module.modules())
                before, after = self.take(module.shape, None), self.take(module.shape, module.spec)
                total += before - int(self.realised * (before - after))
            elif isinstance(module, nn.Conv2d) and module not in inside:
                total += self.take(conv_shape(module), None)
        return total
