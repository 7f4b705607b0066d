"""One cell: make the network, judge it, keep it for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.real.methods import Conversion, Method, Rival
from benchmarks.real.row import ORIGINAL, Row
from benchmarks.real.subject import Case
from convsurgeon.base.errors import TargetError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count
from convsurgeon.transfer.agreement import agreement

__all__ = ["Bench", "network_folder"]


class Bench:
    """A built subject, whose original runs once over the judging inputs."""

    def __init__(self, subject: str, source: str, case: Case, cache: Path) -> None:
        self._blank = Row(subject=subject, method=ORIGINAL, target=1.0, source=source)
        self._case, self._cache = case, cache
        self._outputs = _outputs(case.model, case.judging)

    def original(self) -> Row:
        """The original's row."""
        return self._row(ORIGINAL, 1.0, self._case.model, self._outputs)

    def row(self, name: str, method: Method, share: float, known: Sequence[Row]) -> Row:
        """A cell's row; one in ``known`` with the same plan is the same network, and is not made again."""
        return (
            self._rival(name, method, share)
            if isinstance(method, Rival)
            else self._conversion(name, method, share, known)
        )

    def _rival(self, name: str, method: Rival, share: float) -> Row:
        start = time.process_time()
        try:
            model = method.make(self._case, share)
        except Exception as error:
            # Code that is not ours: whatever it raises is what became of it.
            return self._failed(name, share, error)
        return self._judged(name, share, model, "", start)

    def _conversion(self, name: str, method: Conversion, share: float, known: Sequence[Row]) -> Row:
        start = time.process_time()
        try:
            plan = method.plan(self._case, share)
        except TargetError as error:
            return self._failed(name, share, error)
        key = method.key(plan)
        if (twin := next((row for row in known if row.plan == key), None)) is not None:
            return twin.model_copy(update={"method": name, "target": share})
        done = method.carry_out(self._case, plan)
        done.save(network_folder(self._cache, self._blank.subject, key), force=True)
        return self._judged(name, share, done.model, key, start)

    def _failed(self, name: str, share: float, error: Exception) -> Row:
        why = f"{type(error).__name__}: {error}"
        return self._blank.model_copy(update={"method": name, "target": share, "failed": why})

    def _judged(self, name: str, share: float, model: nn.Module, key: str, start: float) -> Row:
        seconds = time.process_time() - start
        row = self._row(name, share, model, _outputs(model.eval(), self._case.judging))
        return row.model_copy(update={"seconds": round(seconds, 1), "plan": key})

    def _row(self, name: str, share: float, model: nn.Module, outputs: Sequence[Any]) -> Row:
        cost = count(model, as_inputs(self._case.example_inputs))
        close = agreement(_replay(self._outputs), _replay(outputs), map(as_inputs, self._case.judging), held_back=True)
        return self._blank.model_copy(
            update={
                "method": name,
                "target": share,
                "macs": cost.macs,
                "params": cost.params,
                "measures": self._case.measures(outputs),
                "output_error": close.output_error,
            }
        )


def network_folder(cache: Path, subject: str, plan: str) -> Path:
    """Where a converted network is kept."""
    return cache / "networks" / f"{subject}-{plan}"


def _outputs(model: nn.Module, batches: Sequence[Any]) -> list[Any]:
    with torch.no_grad():
        return [as_inputs(batch).call(model) for batch in batches]


def _replay(outputs: Sequence[Any]) -> Callable[..., Any]:
    """Gives them one after the other, whatever it is called with."""
    rest = iter(outputs)
    return lambda *_args, **_kwargs: next(rest)
