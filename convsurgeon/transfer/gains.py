"""What an error at a convolution's output does to the network's outputs, measured once for all of its candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.transfer.at_outputs import IMAGES, SETTLED_BYTES, AtOutputs
from convsurgeon.transfer.calibration import Calibration, first_images, held_out
from convsurgeon.transfer.capture import evaluating, watch_first
from convsurgeon.transfer.components import Components
from convsurgeon.transfer.damage_file import data_hash, weights_hash
from convsurgeon.transfer.settled import Settled
from convsurgeon.transfer.traffic import count_traffic

__all__ = ["Gains", "measure_gains"]

VERSION = 1
# Of the variance at a convolution's output: for a unit of it the outputs show more, the more is lost.
LOST = (0.005, 0.03, 0.2)
# Outputs that show more of the least loss change places, as boxes do that are sorted by their scores.
JUMP = 0.25
_LEAST = 1e-9

# A relative error at a convolution's output, and the relative error in the network's outputs that comes of it.
Point = tuple[NonNegativeFloat, NonNegativeFloat]


class Gains:
    """What errors at convolutions do to the outputs, by a few measured points for each; none where that can't be told.

    Without any points errors count as they are.
    """

    def __init__(self, points: Mapping[str, Sequence[Point]]) -> None:
        self._curves = {name: _curve(each) for name, each in points.items() if each}

    @property
    def known(self) -> bool:
        """Whether `at_outputs` tells errors of the outputs."""
        return bool(self._curves)

    def at_outputs(self, name: str, error: float) -> float:
        """The outputs' relative error for one at this convolution: their ratio is read between the measured points."""
        if name not in self._curves or error <= 0:
            return error
        errors, ratios = self._curves[name]
        return error * math.exp(float(numpy.interp(math.log(error), errors, ratios)))


def _curve(points: Iterable[Point]) -> tuple[list[float], list[float]]:
    """Logarithms of errors, ascending, and of the ratios; a larger error never does less."""
    errors, ratios, least = [], [], _LEAST
    for error, found in sorted(points):
        least = max(least, found)
        errors.append(math.log(error))
        ratios.append(math.log(least / error))
    return errors, ratios


def measure_gains(
    original: nn.Module,
    names: Sequence[str],
    calibration: Iterable[Any] | Calibration,
    *,
    fingerprint: str = "",
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Gains:
    """The gains of these convolutions.

    Each loses its principal components with the least variance, as a unit that is fitted by least squares leaves those
    out first. They are those of a few inputs that candidates are fitted on; what comes of it is looked at on others,
    that are held out. Where that changes the shape or the order of what comes out, as in a detector, or outputs are no
    numbers that vary, there are no gains at all. What ``directory`` holds for the same model, weights, data and outputs
    is not measured again; ``fingerprint`` is the survey's. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none.
        ModelRunError: the model fails on the calibration inputs.
    """
    if not names:
        return Gains({})
    reference, data, tell = duplicate(original), Calibration.of(calibration), progress or silent
    with evaluating(reference):
        outputs = AtOutputs.held_out(reference, data)
        if not outputs.comparable:
            return Gains({})
        key = (str(VERSION), fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), outputs.kind)
        cache = CacheFile(directory, "gains", key, tuple[Point, ...])
        known = {name: found["points"] for name, found in cache.entries.items() if name in names}
        missing = [name for name in names if name not in known] if all(known.values()) else []
        for name, points in _measured(reference, missing, outputs, data, tell) if missing else ():
            known[name] = points
            cache.add(name, {"points": points})
            if not points:
                break
    return Gains(known if all(known.values()) else {})


def _measured(
    reference: nn.Module, names: Sequence[str], outputs: AtOutputs, data: Calibration, progress: Progress
) -> Iterator[tuple[str, tuple[Point, ...]]]:
    """Convolution by convolution, in the order in which they run; no points where outputs can't be compared."""
    fitted_on = list(first_images(held_out(data.part(reference, held_back=False), held=False), IMAGES))
    traffic, settled = count_traffic(reference, names, fitted_on), Settled(SETTLED_BYTES)
    for done, name in enumerate(sorted(names, key=lambda name: traffic[name].rank)):
        progress("measuring gains", done, len(names), name)
        components = Components.of(_written(reference, name, fitted_on, traffic[name].calls, settled))
        points = [_point(outputs, name, components, share) for share in LOST]
        yield name, () if None in points else tuple(point for point in points if point is not None)
    progress("measuring gains", len(names), len(names), "")


def _written(
    network: nn.Module, name: str, batches: Sequence[Inputs], calls: Sequence[int], settled: Settled
) -> list[Tensor]:
    """What a layer writes; what runs before it is kept for the next one."""
    seen: list[Tensor] = []
    for number, (inputs, count) in enumerate(zip(batches, calls, strict=True)):
        with settled.ahead_of(network.get_submodule(name), network, number):
            watch_first(network, {name: lambda _, y: seen.append(y.clone())}, {name: count}, inputs)
    return seen


def _point(outputs: AtOutputs, name: str, components: Components | None, share: float) -> Point | None:
    """None where what comes out has another shape then, or is another one altogether; where the layer was not seen, an
    error counts as it is."""
    if components is None:
        return share, share
    loss = _Loss(components, share)
    error = outputs.with_output(name, loss)
    if error is None or (share == LOST[0] and error > JUMP):
        return None
    if loss.seen == 0:
        return share, share
    return (loss.error, error) if loss.error > _LEAST else (share, 0.0)


class _Loss:
    """What takes the least components out of an output [N, C, …], and the relative error that this was."""

    def __init__(self, components: Components, share: float) -> None:
        self._mean, self._least = components.mean, components.least(share)
        self._lost = self._whole = 0.0
        self.seen = 0

    def __call__(self, y: Tensor) -> Tensor:
        self.seen += len(y)
        away = y - self._mean.to(y).view(-1, *(1,) * (y.dim() - 2))
        lost = torch.einsum("oc,nc...->no...", self._least.to(y), away)
        self._lost += float(lost.double().square().sum())
        self._whole += float(away.double().square().sum())
        return y - lost

    @property
    def error(self) -> float:
        """Of all outputs so far."""
        return self._lost / self._whole if self._whole else 0.0
