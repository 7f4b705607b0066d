"""``export``: a network as a file, written whole or not at all, and compared with the network first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import ModelRunError, UsageError, first_line
from convsurgeon.base.free_axes import FreeAxes, parse_axes, size_to_trace, sizes_to_compare
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.deployment.exporting.format import Format, Wanted, Written
from convsurgeon.deployment.exporting.int8_file import FloatFile, refuse_int8, write_int8
from convsurgeon.deployment.exporting.request import Request, require_writable
from convsurgeon.deployment.lowering import lower
from convsurgeon.deployment.quantising.record import Int8Report
from convsurgeon.deployment.quantising.settings import Int8
from convsurgeon.runtimes.closeness import allowed, largest_disagreement
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.survey.usable import refuse_unfinite, refuse_unusable

__all__ = ["Described", "Exported", "export", "write_described"]


@dataclass(frozen=True)
class Described:
    """A text file that takes its place together with the exported one: its suffix, and what it says of it."""

    suffix: str
    text: Callable[[Written], str]


@dataclass(frozen=True)
class Exported:
    """A file that was compared with its network.

    Attributes:
        path: the file; further ones may lie beside it (OpenVINO's .bin).
        format: ``pt2``, ``onnx``, ``openvino``, ``litert``, ``executorch`` or ``coreml``.
        free: the axes of its inputs that may have any length that the network takes: batch, height, width.
        error: the largest ``|a − b| / max(1, max |a|)`` of its outputs in float32, read from the file; None where it
            can't be run here.
        steps: what lowering did; empty where it was not asked for.
        notes: what people should know of how it was written.
        int8: how it compares with the file in float, whose ``error`` this is then; None for a file in float.
        not_run: why the file can't be run here, so that it was only looked at; None where it was compared.
    """

    path: Path
    format: str
    free: FreeAxes
    error: float | None
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    int8: Int8Report | None = None
    not_run: str | None = None

    @property
    def dynamic_batch(self) -> bool:
        """Whether the batch is among the free axes, under the name that this had before there were others."""
        return "batch" in self.free


def export(
    model: nn.Module,
    example_inputs: Any,
    path: Path | str,
    *,
    format: str | None = None,
    lowered: bool = True,
    precision: str | None = None,
    free: str | Iterable[str] | None = None,
    opset: int | None = None,
    force: bool = False,
    int8: Int8 | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a network to a file that runs without convsurgeon; the model is untouched.

    Lowering times its forms on the CPU, wherever the model is. For a GPU, lower there and export with
    ``lowered=False``, as ``convsurgeon lower --device cuda`` does.

    Args:
        model: a converted network or any other.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        path: ends in ``.pt2`` (torch.export), ``.onnx``, ``.xml`` (OpenVINO), ``.tflite`` (LiteRT), ``.pte``
            (ExecuTorch) or ``.mlpackage`` (Core ML).
        format: ``pt2``, ``onnx``, ``openvino``, ``litert``, ``executorch`` or ``coreml``; by default what the path
            ends in.
        lowered: bring the network into its deployment form first (see ``lower``).
        precision: the arithmetic that forms are timed in; None for what the file's runtime takes by itself. Of a Core
            ML file the one that it is written for, ``float16`` (None) or ``float32``.
        free: the axes of the inputs that may have any length, ``"batch,height,width"`` or some of them; ``"none"``
            for the example's sizes only. None frees the batch where the model allows it.
        opset: the version of ONNX's operators; None for the exporter's own.
        force: replace a file that is there.
        int8: quantise it, on the inputs that this brings; None writes it in float.
        progress: called while an int8 file is made, with the stage, steps done, steps in all, and the next one.

    Raises:
        UnknownName: an unknown format, or a path that says none.
        UsageError: the format's packages are not installed, a precision that its runtime lacks, or one for nothing; a
            ``free`` axis of which the model takes one length only, an ``opset`` that the format has not; int8 without
            lowering, on a processor that has no instructions for it, or without inputs to measure on.
        TargetError: ``int8.at_least`` can't be read or is not reached.
        OutputExists: the file is there and ``force`` is not given.
        ModelLoadError, ModelRunError: the model can't be copied, run or brought into the format.
    """
    path = Path(path)
    kind = require_writable(path, format, force)
    if int8 is not None and not isinstance(int8, Int8):
        raise UsageError(f"int8 is a {type(int8).__name__}; expected convsurgeon.Int8(calibration=batches) or None.")
    wanted = Wanted(None if free is None else parse_axes(free), opset, precision)
    request = Request.of(path, kind, wanted, lowered=lowered, int8=int8 is not None)
    if int8 is None:
        return _written(model, example_inputs, request, None)
    refuse_int8(kind, int8.at_least, lowered=lowered)
    return _written_in_int8(model, example_inputs, request, int8, progress or silent)


def write_described(
    model: nn.Module, example_inputs: Any, path: Path, described: Described, *, force: bool
) -> Exported:
    """``export`` of a network as it is, with a text file beside it: both are there, or neither."""
    kind = require_writable(path, None, force)
    return _written(model, example_inputs, Request(path, kind, Wanted(), lowered=False), described)


def _written(model: nn.Module, example_inputs: Any, request: Request, described: Described | None) -> Exported:
    subject = _Subject.of(model, example_inputs, request, _timed_in(request.kind))
    path = request.path
    with drafting(path.parent) as folder:
        draft = folder / path.name
        written, error = subject.write(request, draft)
        if described is not None:
            draft.with_suffix(described.suffix).write_text(described.text(written), encoding="utf-8")
    name, not_run = request.kind.name, written.not_run
    return Exported(path, name, written.free, error, subject.steps, written.notes, not_run=not_run)


def _written_in_int8(
    model: nn.Module, example_inputs: Any, request: Request, int8: Int8, progress: Progress
) -> Exported:
    """The file in float is written aside, to start from and to be compared with."""
    kind, path, wanted = request.kind, request.path, request.wanted
    subject = _Subject.of(model, example_inputs, request, _timed_for_int8(kind))
    with drafting(path.parent) as folder, TemporaryDirectory() as aside:
        reference = Path(aside) / path.name
        written, error = subject.write(request, reference)
        source = FloatFile(kind, subject.network, subject.inputs, wanted, reference, written)
        report = write_int8(source, int8, folder / path.name, progress)
    return Exported(path, kind.name, written.free, error, subject.steps, written.notes, report)


@dataclass(frozen=True)
class _Subject:
    """The network that a file is made from, the one that is written, and inputs for both."""

    original: nn.Module
    network: nn.Module
    inputs: Inputs
    steps: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module, example_inputs: Any, request: Request, runtime: str | None) -> _Subject:
        """Lowered if that is wanted, its forms timed in ``runtime``."""
        refuse_unusable(model)
        refuse_unfinite(model)
        original = duplicate(model).eval().cpu()
        inputs = as_inputs(example_inputs).like(original)
        if request.wanted.free:
            _require_sizes(original, inputs, request.wanted.free)
        if not request.lowered:
            return cls(original, original, inputs, ())
        done = lower(original, inputs, runtime=runtime, precision=request.timed_in)
        return cls(original, done.model, inputs, done.summary())

    def write(self, request: Request, path: Path) -> tuple[Written, float | None]:
        """Write the file, and what its outputs differ by from the original's; None where it can't be run here.

        Raises:
            ModelRunError: by more than rounding explains.
        """
        kind = request.kind
        written = kind.write(self.network, self.inputs, path, request.wanted)
        if written.not_run is not None:
            return written, None
        error = largest_disagreement(self.original, kind.read(path), sizes_to_compare(self.inputs, written.free))
        tolerance = allowed(self.original)
        if error > tolerance:
            raise ModelRunError(
                f"the {kind.name} file computes something else: its outputs differ by {error:.1e}, allowed "
                f"{tolerance:.0e}; nothing was written. Try another format"
                f"{', or --no-lower' if request.lowered else ''}."
            )
        return written, error


def _require_sizes(model: nn.Module, inputs: Inputs, free: FreeAxes) -> None:
    """Run the network at other sizes, before anything that takes long.

    Raises:
        UsageError: it takes the inputs' own size alone.
    """
    with torch.no_grad():
        inputs.call(model)
        for other in (size_to_trace(inputs, free), *sizes_to_compare(inputs, free)[1:]):
            try:
                other.call(model)
            except ModelRunError as error:
                reason = first_line(error.__cause__ or error)
                raise UsageError(
                    f"{', '.join(free)} can't be free: the network runs on {inputs.describe()} and fails on "
                    f"{other.describe()}: {reason}. Free the axes it takes any length of (a classifier that flattens "
                    "its features into a linear layer takes one height and width), or name none."
                ) from error


def _timed_in(kind: Format) -> str | None:
    """The format's runtime, where it has one and it is here to time in."""
    found = None if kind.runtime is None else find_runtime(kind.runtime)
    return None if found is None or found.available() is not None else found.name


def _timed_for_int8(kind: Format) -> str | None:
    """The same, unless lowering for it would overwrite tensors, which kernels that are made for int8 do not know."""
    name = _timed_in(kind)
    return None if name is None or find_runtime(name).runs_modules else name
