"""Each convolution inside the running networks, by hooks; eager, both networks in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import observed
from convsurgeon.deployment.benching.record import BenchLayer
from convsurgeon.families.unit import UNITS, CompactConv
from convsurgeon.runtimes.machine import device_of, synchroniser
from convsurgeon.runtimes.timer import Effort, Spread, Stopwatch

__all__ = ["layer_rows"]

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def layer_rows(
    pair: Sequence[nn.Module], inputs: Inputs, batches: Sequence[int], effort: Effort
) -> tuple[BenchLayer, ...]:
    """A row for every convolution of the original that ran, in execution order, for each batch size."""
    watch = Stopwatch(wait=synchroniser(device_of(pair[0])))
    names = [name for name, module in pair[0].named_modules() if isinstance(module, (*_CONVS, *UNITS))]
    rows: list[BenchLayer] = []
    for batch in batches:
        given = rebatched(inputs, batch)
        spreads = _in_turn(pair, given, names, effort, watch)
        rows.extend(_row(name, batch, pair, spreads) for name in spreads[0])
    return tuple(rows)


def _row(name: str, batch: int, pair: Sequence[nn.Module], spreads: Sequence[Mapping[str, Spread]]) -> BenchLayer:
    before, after = spreads[0][name], spreads[1].get(name) if len(spreads) > 1 else None
    became = pair[1].get_submodule(name) if after is not None else None
    return BenchLayer(
        name=name,
        was=_words(pair[0].get_submodule(name)),
        became=_words(became) if isinstance(became, UNITS) else None,
        batch=batch,
        original=before,
        converted=after,
        ratio=after.median_ns / max(before.median_ns, 1) if after is not None else None,
    )


def _words(module: nn.Module) -> str:
    if isinstance(module, CompactConv):
        return module.spec.describe()
    return f"{type(module).__name__}({module.extra_repr()})"


def _in_turn(
    pair: Sequence[nn.Module], inputs: Inputs, names: Sequence[str], effort: Effort, watch: Stopwatch
) -> list[Mapping[str, Spread]]:
    """One forward of each network after the other, ``effort`` long; each layer's time over all its calls."""
    samples: list[dict[str, list[float]]] = [defaultdict(list) for _ in pair]
    start, turn = watch.clock(), 0
    while turn <= effort.fewest or (turn < effort.most and watch.clock() - start < effort.timed_s * 1e9 * len(pair)):
        for model, found in zip(pair, samples, strict=True):
            for name, took in _once(model, inputs, names, watch).items():
                # The first turn warms up.
                if turn:
                    found[name].append(took)
        turn += 1
    return [{name: Spread.of(times) for name, times in found.items()} for found in samples]


def _once(model: nn.Module, inputs: Inputs, names: Sequence[str], watch: Stopwatch) -> dict[str, int]:
    present = dict(model.named_modules())
    took: dict[str, int] = {}
    clocks = [(present[name], *_stopwatch(name, took, watch)) for name in names if name in present]
    before, after = [(module, begin) for module, begin, _ in clocks], [(module, end) for module, _, end in clocks]
    with observed(before=before, after=after), torch.inference_mode():
        inputs.call(model)
    return took


def _stopwatch(name: str, took: dict[str, int], watch: Stopwatch) -> tuple[Callable[..., None], Callable[..., None]]:
    """Hooks that add a call's time to the layer's."""
    started: list[int] = []

    def begin(*_: object) -> None:
        watch.wait()
        started.append(watch.clock())

    def end(*_: object) -> None:
        watch.wait()
        took[name] = took.get(name, 0) + watch.clock() - started.pop()

    return begin, end
