"""Which form a unit gets: the one that is fastest in its place, or the first of the list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from convsurgeon.errors import ModelRunError
from convsurgeon.inputs import Inputs
from convsurgeon.lowering.absorbed import Absorbed, in_order
from convsurgeon.lowering.forms import Form
from convsurgeon.runtimes import Runtime
from convsurgeon.timing import QUICK, Stopwatch, time_in_turn
from convsurgeon.timing.machine import synchroniser

__all__ = ["Choice", "Fewest", "Timed", "prepared", "settled", "stopwatch_for"]


class Choice(Protocol):
    """Picks one of the forms of a unit that reads ``x``."""

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool) -> Form:
        """``free``: the form's channels may come out in its own order."""
        ...


@dataclass(frozen=True)
class Fewest:
    """The form with the fewest multiplications: the same on every machine."""

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool) -> Form:
        """The first one."""
        return forms[0]


@dataclass(frozen=True)
class Timed:
    """The form that is fastest in ``runtime`` on the tensors that the unit reads in the network.

    Units of one kind that read maps of one shape are timed once; ``layout`` is the weights' memory format,
    ``precision`` the arithmetic's.
    """

    runtime: Runtime
    precision: str
    layout: torch.memory_format = torch.contiguous_format
    known: dict[object, str] = field(default_factory=dict)

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool) -> Form:
        """The fastest; of two that are equally fast, the one with fewer multiplications."""
        if len(forms) == 1:
            return forms[0]
        key = self._key(absorbed, x, free)
        by_name = {form.name: form for form in forms}
        if self.known.get(key) not in by_name:
            self.known[key] = self._fastest(absorbed, forms, x, free)
        return by_name[self.known[key]]

    def _key(self, absorbed: Absorbed, x: Tensor, free: bool) -> object:
        unit = absorbed.unit
        settled = free or in_order(absorbed.writes)
        return unit.shape, unit.spec, tuple(x.shape), x.stride(), settled, in_order(absorbed.reads), free

    def _fastest(self, absorbed: Absorbed, forms: list[Form], x: Tensor, free: bool) -> str:
        runs: dict[str, Callable[[], object]] = {}
        problems = []
        for form in forms:
            module = form.realise(settled(absorbed, form) if free else absorbed)
            try:
                runs[form.name] = self._prepared(module, x)
            except ModelRunError as error:
                problems.append(str(error))
        if not runs:
            raise ModelRunError(
                f"no form of {absorbed.unit.spec.describe()} runs in {self.runtime.name}: {problems[0]}"
            )
        times = time_in_turn(list(runs.values()), QUICK, stopwatch_for(x.device))
        # Other programs can only add to a time, and they hit one form and spare the next.
        return min(zip(times, runs, strict=True), key=lambda pair: pair[0].least_ns)[1]

    def _prepared(self, module: nn.Module, x: Tensor) -> Callable[[], object]:
        if x.dim() == 4:
            module = module.to(memory_format=self.layout)
        return prepared(self.runtime, module.eval(), x, self.precision)


def prepared(runtime: Runtime, module: nn.Module, x: Tensor, precision: str) -> Callable[[], object]:
    """What runs a form once in a runtime, in ``precision``.

    Raises:
        ModelRunError: it can't be brought into the runtime.
    """
    threads = torch.get_num_threads()
    return runtime.for_layers().prepare(module, Inputs((x,)), precision=precision, threads=threads)


def stopwatch_for(device: torch.device) -> Stopwatch:
    """On one thread of a CPU its own time counts, which other programs on the machine do not lengthen."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return Stopwatch(clock=time.process_time_ns)
    return Stopwatch(wait=synchroniser(device))


def settled(absorbed: Absorbed, form: Form) -> Absorbed:
    """As it would be if the outside took the form's orders."""
    if form.order is not None:
        absorbed = Absorbed(absorbed.unit, absorbed.reads, form.order, absorbed.scale, absorbed.shift)
    if form.reads is not None:
        absorbed = Absorbed(absorbed.unit, form.reads.argsort(), absorbed.writes, absorbed.scale, absorbed.shift)
    return absorbed
