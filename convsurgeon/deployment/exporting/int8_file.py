"""A network as an int8 file: prepared for it, written by the format, and compared with the float file each time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.exporting.int8_data import Int8Data
from convsurgeon.deployment.quantising.biases import bias_shifts, shifted
from convsurgeon.deployment.quantising.equalise import equalised
from convsurgeon.deployment.quantising.fewest import fewest
from convsurgeon.deployment.quantising.losses import LayerLoss, layer_losses
from convsurgeon.deployment.quantising.record import Int8Loss, Int8Report, Likeness
from convsurgeon.deployment.quantising.rounding import RoundedNetwork
from convsurgeon.deployment.quantising.settings import Int8
from convsurgeon.planning.floors import Floor, counted_agreement
from convsurgeon.runtimes.closeness import allowed, as_tensors, largest_disagreement
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.machine import dtype_of
from convsurgeon.runtimes.timer import Effort, time_in_turn
from convsurgeon.transfer.agreement import agreement
from convsurgeon.transfer.calibration import first_images, images_in

__all__ = ["FloatFile", "refuse_int8", "write_int8"]

# Enough to rank layers by; more would take a run of the network for each layer and image.
_WEIGHED_ON = 16
_TIMING = Effort(warm_up_s=0.2, timed_s=1.0, fewest=5, most=100, sample_s=0.01)


def refuse_int8(kind: Format, at_least: str | Floor | None, *, lowered: bool) -> None:
    """Refuse what can't be written in int8 here, before anything is computed.

    Raises:
        UsageError: packages or instructions that are not there, with what to do; a network that is not lowered.
        TargetError: ``at_least`` can't be read.
    """
    if (reason := kind.int8_missing() or no_int8_instructions()) is not None:
        raise UsageError(f"no int8 file of the format '{kind.name}' can be written here: {reason}")
    if not lowered:
        raise UsageError("int8 starts from the lowered network, whose batch norms are folded; leave out --no-lower.")
    if at_least is not None:
        counted_agreement(at_least)


@dataclass(frozen=True)
class FloatFile:
    """A file in float, and the lowered network (eval mode, CPU) that it was written from."""

    kind: Format
    network: nn.Module
    inputs: Inputs
    wanted: Wanted
    path: Path
    written: Written

    @property
    def bytes(self) -> int:
        """Of the file and of those that belong to it."""
        return _size(self.kind, self.path)


def write_int8(source: FloatFile, wanted: Int8, path: Path, progress: Progress) -> Int8Report:
    """Write what a file in float holds to an int8 file.

    Raises:
        UsageError: no inputs to calibrate on, or weights that are not float32.
        TargetError: ``wanted.at_least`` can't be read, is not reached (the message has the best), or is asked of a
            network without classes.
        ModelRunError: the network can't be quantised in this format.
    """
    least = None if wanted.at_least is None else counted_agreement(wanted.at_least)
    if dtype_of(source.network) != torch.float32:
        raise UsageError(f"int8 starts from float32, and the weights are {dtype_of(source.network)}: model.float().")
    with torch.no_grad():
        if least is not None:
            _require_classes(source)
        data = Int8Data.of(wanted, source.network, source.inputs, source.written.free)
        work = _Work(source, data, path, progress)
        found, in_float = work.kept_above(least)
        return work.report(found, in_float, wanted.original)


@dataclass(frozen=True)
class _Work:
    """One network on its way into an int8 file at ``path``."""

    source: FloatFile
    data: Int8Data
    path: Path
    progress: Progress

    @cached_property
    def in_float(self) -> Reader:
        return self.source.kind.read(self.source.path)

    @cached_property
    def equalised(self) -> nn.Module:
        """With equal ranges between convolutions in a row; as it is where code looks in between."""
        network = self.source.network
        made = equalised(network, self.data.measured)

        def run(inputs: Inputs) -> list[torch.Tensor]:
            return as_tensors(inputs.call(made))

        error = largest_disagreement(network, run, [self.source.inputs])
        return made if error <= allowed(network) else network

    @cached_property
    def rounding(self) -> RoundedNetwork:
        return RoundedNetwork(self.equalised, self.data.measured)

    @cached_property
    def shifts(self) -> dict[str, torch.Tensor]:
        return bias_shifts(self.rounding, self.data.measured)

    @cached_property
    def losses(self) -> tuple[LayerLoss, ...]:
        return layer_losses(self.rounding, list(first_images(self.data.judged, _WEIGHED_ON)), self.progress)

    def kept_above(self, least: float | None) -> tuple[Likeness, tuple[str, ...]]:
        """Write the file with the fewest layers in float that keep the agreement; and what these are."""
        self.progress("int8", 0, 2, "ranges and biases")
        found = self.write(())
        if least is None or _reaches(found, least):
            return found, ()
        tried = {0: found}

        def holds(count: int) -> bool:
            tried[count] = self.write(self.worst(count))
            return _reaches(tried[count], least)

        count = fewest(len(self.losses), holds) if self.losses else None
        if count is None:
            best = max(tried, key=lambda count: tried[count].agreement or 0)
            raise TargetError(_not_reached(least, best, tried[best]))
        if count != list(tried)[-1]:
            # What was written last did not hold.
            self.write(self.worst(count))
        return tried[count], self.worst(count)

    def worst(self, count: int) -> tuple[str, ...]:
        """The layers that lose most."""
        return tuple(loss.name for loss in self.losses[:count])

    def write(self, in_float: Collection[str]) -> Likeness:
        """Write the file anew, and compare it with the float file."""
        words = f"with {len(in_float)} layers in float" if in_float else "the file"
        self.progress("int8", 1, 2, words)
        prepared = shifted(self.equalised, {n: s for n, s in self.shifts.items() if n not in in_float})
        kind, source = self.source.kind, self.source
        kind.write_int8(ToQuantise(prepared, source.inputs, source.wanted, self.data.measured, in_float), self.path)
        found = self.likeness(_as_called(self.in_float), _as_called(kind.read_int8(self.path)))
        self.progress("int8", 2, 2, "")
        return found

    def likeness(self, one: Callable[..., Any], other: Callable[..., Any]) -> Likeness:
        """How close two of them are on what is judged on."""
        return Likeness.of(agreement(one, other, self.data.judged, held_back=self.data.held_back))

    def report(self, found: Likeness, in_float: tuple[str, ...], original: nn.Module | None) -> Int8Report:
        """What there is to tell of the file that was written."""
        kind, inputs = self.source.kind, self.source.inputs
        in_int8 = kind.read_int8(self.path)
        spreads = time_in_turn([lambda: self.in_float(inputs), lambda: in_int8(inputs)], _TIMING)
        return Int8Report(
            calibrated_on=sum(map(images_in, self.data.measured)),
            float_bytes=self.source.bytes,
            int8_bytes=_size(kind, self.path),
            float_ms=spreads[0].median_ms,
            int8_ms=spreads[1].median_ms,
            float_file=found,
            original=None if original is None else self.likeness(original, _as_called(in_int8)),
            float_to_original=None if original is None else self.likeness(original, _as_called(self.in_float)),
            losses=tuple(Int8Loss(layer=loss.name, output_error=loss.output_error) for loss in self.losses),
            in_float=in_float,
        )


def _require_classes(source: FloatFile) -> None:
    if agreement(source.network, source.network, [source.inputs], held_back=False).top1 is None:
        raise TargetError(
            "agreement can't be kept where there are no classes: it needs one output [N, classes]; leave out at_least "
            "(--at-least), and compare the output error that is told."
        )


def _reaches(found: Likeness, least: float) -> bool:
    return (found.agreement or 0.0) >= least


def _not_reached(least: float, in_float: int, best: Likeness) -> str:
    share = 100 * (best.agreement or 0)
    return (
        f"agreement={100 * least:g}% is not reached in int8: the best was {share:.1f} % of {best.inputs} inputs, with "
        f"{in_float} layers in float; nothing was written. Ask for less, calibrate on more images, or export in float."
    )


def _as_called(reader: Reader) -> Callable[..., list[torch.Tensor]]:
    """A file as something that is called like its network."""

    def call(*args: Any, **kwargs: Any) -> list[torch.Tensor]:
        return reader(Inputs(args, kwargs))

    return call


def _size(kind: Format, path: Path) -> int:
    """Bytes of the file and of those that belong to it."""
    return sum(path.with_suffix(suffix).stat().st_size for suffix in (kind.suffix, *kind.beside))
