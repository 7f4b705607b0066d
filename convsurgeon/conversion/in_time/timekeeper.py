"""Who reads the clock: times of layers and of whole networks. Tests put a table of times in its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import Inputs
from convsurgeon.conversion.in_time.layer_calls import LayerCase
from convsurgeon.families.family import Spec
from convsurgeon.runtimes.machine import device_of, place, synchroniser
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.registry import Runtime
from convsurgeon.runtimes.timer import BENCH, QUICK, Effort, Spread, Stopwatch, time_in_turn
from convsurgeon.surgery.operate import replacement

__all__ = ["Bench", "Call", "Timekeeper"]


@dataclass(frozen=True)
class Call:
    """``times`` calls of a convolution on one input."""

    conv: nn.Module
    case: LayerCase
    times: int


class Timekeeper(Protocol):
    """Times layers and whole networks, each set of things in turn."""

    def place(self, model: nn.Module) -> Place:
        """Where and how times are taken."""
        ...

    def layer(self, conv: nn.Module, case: LayerCase, specs: Sequence[Spec | None]) -> tuple[Spread, ...]:
        """One call of a convolution (None) and of its replacements, on an input as the network gives it."""
        ...

    def whole(self, model: nn.Module, inputs: Inputs, calls: Sequence[Call]) -> tuple[Spread, Spread]:
        """One forward of a network in eval mode and, in turn with it, these calls of its layers one by one."""
        ...

    def networks(self, models: Sequence[nn.Module], inputs: Inputs) -> tuple[Spread, ...]:
        """One forward of whole networks in eval mode."""
        ...


@dataclass(frozen=True)
class Bench:
    """The real clock, in one runtime and precision on this machine; ``clock`` reads nanoseconds."""

    runtime: Runtime
    precision: str
    layer_effort: Effort = QUICK
    network_effort: Effort = BENCH
    clock: Callable[[], int] = time.perf_counter_ns

    def place(self, model: nn.Module) -> Place:
        """This machine, with torch's threads."""
        return place(self.runtime.name, self.precision, device_of(model))

    def layer(self, conv: nn.Module, case: LayerCase, specs: Sequence[Spec | None]) -> tuple[Spread, ...]:
        """All prepared at once and timed in turn; fresh weights, since a time does not depend on them."""
        runtime = self.runtime.for_layers()
        inputs = Inputs(args=(case.example(conv),))
        with seeded(0):
            modules = [conv if spec is None else replacement(conv, spec) for spec in specs]  # type: ignore[arg-type]
        return self._timed(runtime, [module.eval() for module in modules], inputs, self.layer_effort)

    def whole(self, model: nn.Module, inputs: Inputs, calls: Sequence[Call]) -> tuple[Spread, Spread]:
        """All prepared at once; a round of the calls takes about as long as the network, so that load hits both."""
        layers = self.runtime.for_layers()
        network = self._prepared(self.runtime, model, inputs)
        alone = [
            (self._prepared(layers, call.conv, Inputs(args=(call.case.example(call.conv),))), call.times)
            for call in calls
        ]

        def run_alone() -> None:
            for run, times in alone:
                for _ in range(times):
                    run()

        watch = Stopwatch(self.clock, synchroniser(device_of(model)))
        total, parts = time_in_turn([network, run_alone], self.network_effort, watch)
        return total, parts

    def networks(self, models: Sequence[nn.Module], inputs: Inputs) -> tuple[Spread, ...]:
        """Prepared one after the other, timed in turn."""
        return self._timed(self.runtime, models, inputs, self.network_effort)

    def _timed(
        self, runtime: Runtime, models: Sequence[nn.Module], inputs: Inputs, effort: Effort
    ) -> tuple[Spread, ...]:
        runs = [self._prepared(runtime, model, inputs) for model in models]
        return time_in_turn(runs, effort, Stopwatch(self.clock, synchroniser(device_of(models[0]))))

    def _prepared(self, runtime: Runtime, model: nn.Module, inputs: Inputs) -> Callable[[], object]:
        return runtime.prepare(model, inputs, precision=self.precision, threads=torch.get_num_threads())
