"""Which form a unit gets: the one that is fastest in its place, or the first of the list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.lowering.forms import Form
from convsurgeon.deployment.lowering.layout import laid_out
from convsurgeon.families.forms.absorbed import Absorbed, in_order
from convsurgeon.families.forms.pieces import Onto
from convsurgeon.runtimes.machine import synchroniser
from convsurgeon.runtimes.registry import Runtime
from convsurgeon.runtimes.timer import QUICK, Stopwatch, time_in_turn

__all__ = ["Choice", "Fewest", "Timed", "prepared", "settled", "stopwatch_for"]


class Choice(Protocol):
    """Picks one of the forms of a unit that reads ``x``."""

    @property
    def overwrites(self) -> bool:
        """Whether the network runs where writing over a tensor saves time."""
        ...

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool, onto: bool) -> Form:
        """``free``: the form's channels may come out in its own order; ``onto``: they are added to a tensor there."""
        ...


@dataclass(frozen=True)
class Fewest:
    """The form with the fewest multiplications: the same on every machine."""

    @property
    def overwrites(self) -> bool:
        """Nobody knows where it will run."""
        return False

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool, onto: bool) -> Form:
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

    @property
    def overwrites(self) -> bool:
        """In eager mode alone: the others lay out tensors themselves."""
        return self.runtime.runs_modules

    def pick(self, absorbed: Absorbed, forms: list[Form], x: Tensor, *, free: bool, onto: bool) -> Form:
        """The fastest; of two that are equally fast, the one with fewer multiplications."""
        if len(forms) == 1:
            return forms[0]
        key = self._key(absorbed, x, free, onto)
        by_name = {form.name: form for form in forms}
        if self.known.get(key) not in by_name:
            self.known[key] = self._fastest(absorbed, forms, x, free, onto)
        return by_name[self.known[key]]

    def _key(self, absorbed: Absorbed, x: Tensor, free: bool, onto: bool) -> object:
        unit = absorbed.unit
        settled = free or in_order(absorbed.writes)
        return unit.shape, unit.spec, tuple(x.shape), x.stride(), settled, in_order(absorbed.reads), free, onto

    def _fastest(self, absorbed: Absorbed, forms: list[Form], x: Tensor, free: bool, onto: bool) -> str:
        runs: dict[str, Callable[[], object]] = {}
        problems = []
        for form in forms:
            module = form.realise(settled(absorbed, form) if free else absorbed)
            try:
                runs[form.name] = self._prepared(module, x, onto)
            except ModelRunError as error:
                problems.append(str(error))
        if not runs:
            raise ModelRunError(
                f"no form of {absorbed.unit.spec.describe()} runs in {self.runtime.name}: {problems[0]}"
            )
        times = time_in_turn(list(runs.values()), QUICK, stopwatch_for(x.device))
        # Other programs can only add to a time, and they hit one form and spare the next.
        return min(zip(times, runs, strict=True), key=lambda pair: pair[0].least_ns)[1]

    def _prepared(self, module: nn.Module, x: Tensor, onto: bool) -> Callable[[], object]:
        module = laid_out(module, self.layout).eval()
        if not onto:
            return prepared(self.runtime, module, (x,), self.precision)
        with torch.no_grad():
            shortcut = torch.zeros_like(Inputs((x,)).call(module))
        if shortcut.dim() == 4:
            shortcut = shortcut.contiguous(memory_format=self.layout)
        return prepared(self.runtime, Onto(module).eval(), (shortcut, x), self.precision)


def prepared(runtime: Runtime, module: nn.Module, inputs: tuple[Tensor, ...], precision: str) -> Callable[[], object]:
    """What runs a form once in a runtime, in ``precision``.

    Raises:
        ModelRunError: it can't be brought into the runtime.
    """
    threads = torch.get_num_threads()
    return runtime.for_layers().prepare(module, Inputs(inputs), precision=precision, threads=threads)


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
