"""``export``: a network as a file, written whole or not at all, and compared with the network first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import ModelRunError, OutputExists, UsageError
from convsurgeon.base.files import refuse_existing_file
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.deployment.exporting.format import Format, Written
from convsurgeon.deployment.exporting.formats import format_for
from convsurgeon.deployment.exporting.int8_file import FloatFile, refuse_int8, write_int8
from convsurgeon.deployment.lowering import lower
from convsurgeon.deployment.quantising.record import Int8Report
from convsurgeon.deployment.quantising.settings import Int8
from convsurgeon.runtimes.closeness import allowed, largest_disagreement
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["Described", "Exported", "export", "export_described", "require_writable"]


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
        format: ``pt2``, ``onnx``, ``openvino`` or ``litert``.
        dynamic_batch: whether it takes any batch size, or only that of the example inputs.
        error: the largest |a − b| / max(1, max |a|) of its outputs in float32, read from the file.
        steps: what lowering did; empty where it was not asked for.
        notes: what people should know of how it was written.
        int8: how it compares with the file in float, whose ``error`` this is then; None for a file in float.
    """

    path: Path
    format: str
    dynamic_batch: bool
    error: float
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    int8: Int8Report | None = None


def export(
    model: nn.Module,
    example_inputs: Any,
    path: Path | str,
    *,
    format: str | None = None,
    lowered: bool = True,
    precision: str | None = None,
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
        path: ends in ``.pt2`` (torch.export), ``.onnx``, ``.xml`` (OpenVINO) or ``.tflite`` (LiteRT).
        format: ``pt2``, ``onnx``, ``openvino`` or ``litert``; by default what the path ends in.
        lowered: bring the network into its deployment form first (see ``lower``).
        precision: the arithmetic that forms are timed in; None for what the file's runtime takes by itself.
        force: replace a file that is there.
        int8: quantise it, on the inputs that this brings; None writes it in float.
        progress: called while an int8 file is made, with the stage, steps done, steps in all, and the next one.

    Raises:
        UnknownName: an unknown format, or a path that says none.
        UsageError: the format's packages are not installed, a precision that its runtime lacks, or one for nothing;
            int8 without lowering, on a processor that has no instructions for it, or without inputs to measure on.
        TargetError: ``int8.at_least`` can't be read or is not reached.
        OutputExists: the file is there and ``force`` is not given.
        ModelLoadError, ModelRunError: the model can't be copied, run or brought into the format.
    """
    kind = require_writable(Path(path), format, force)
    if int8 is None:
        return export_described(
            model, example_inputs, Path(path), format=format, lowered=lowered, precision=precision, force=force
        )
    refuse_int8(kind, int8.at_least, lowered=lowered)
    subject = _Subject.of(kind, model, example_inputs, _timed_for_int8(kind), lowered=True, precision=precision)
    return _export_int8(subject, Path(path), int8, progress or silent)


def export_described(
    model: nn.Module,
    example_inputs: Any,
    path: Path,
    *,
    format: str | None = None,
    lowered: bool = True,
    precision: str | None = None,
    force: bool = False,
    described: Described | None = None,
) -> Exported:
    """``export``, with a text file beside the network's: both are there, or neither."""
    kind = require_writable(path, format, force)
    subject = _Subject.of(kind, model, example_inputs, _timed_in(kind), lowered=lowered, precision=precision)
    with drafting(path.parent) as folder:
        draft = folder / path.name
        written, error = subject.write(draft)
        if described is not None:
            draft.with_suffix(described.suffix).write_text(described.text(written), encoding="utf-8")
    return Exported(path, kind.name, written.dynamic_batch, error, subject.steps, written.notes)


def _export_int8(subject: _Subject, path: Path, wanted: Int8, progress: Progress) -> Exported:
    """The file in float is written aside, to start from and to be compared with."""
    with drafting(path.parent) as folder, TemporaryDirectory() as aside:
        reference = Path(aside) / path.name
        written, error = subject.write(reference)
        source = FloatFile(subject.kind, subject.network, subject.inputs, reference, written)
        report = write_int8(source, wanted, folder / path.name, progress)
    return Exported(path, subject.kind.name, written.dynamic_batch, error, subject.steps, written.notes, report)


@dataclass(frozen=True)
class _Subject:
    """What is to be written in a format: the network that it was made from, the one that is written, and inputs."""

    kind: Format
    original: nn.Module
    network: nn.Module
    inputs: Inputs
    steps: tuple[str, ...]

    @classmethod
    def of(
        cls,
        kind: Format,
        model: nn.Module,
        example_inputs: Any,
        runtime: str | None,
        *,
        lowered: bool,
        precision: str | None,
    ) -> _Subject:
        refuse_unusable(model)
        if precision is not None and not lowered:
            raise UsageError(f"precision '{precision}' says what to time in, but nothing is timed without lowering.")
        original = duplicate(model).eval().cpu()
        inputs = as_inputs(example_inputs).like(original)
        if not lowered:
            return cls(kind, original, original, inputs, ())
        done = lower(original, inputs, runtime=runtime, precision=precision)
        return cls(kind, original, done.model, inputs, done.summary())

    def write(self, path: Path) -> tuple[Written, float]:
        """Write the file, and what its outputs differ by from the original's.

        Raises:
            ModelRunError: by more than rounding explains.
        """
        written = self.kind.write(self.network, self.inputs, path)
        error = largest_disagreement(self.original, self.kind.read(path), self.inputs, free_batch=written.dynamic_batch)
        tolerance = allowed(self.original)
        if error > tolerance:
            raise ModelRunError(
                f"the {self.kind.name} file computes something else: its outputs differ by {error:.1e}, allowed "
                f"{tolerance:.0e}; nothing was written. Try another format{', or --no-lower' if self.steps else ''}."
            )
        return written, error


def require_writable(path: Path, format: str | None, force: bool) -> Format:
    """The path's format; raises what `export` raises before it looks at a model."""
    kind = format_for(path, format)
    if (reason := kind.missing()) is not None:
        raise UsageError(f"the format '{kind.name}' can't be written: {reason}")
    for suffix in (kind.suffix, *kind.beside):
        refuse_existing_file(path.with_suffix(suffix), force)
        if path.with_suffix(suffix).exists() and not path.exists():
            raise OutputExists(
                f"'{path.with_suffix(suffix)}' belongs to no '{path}', so --force does not replace it; choose another "
                "-o FILE."
            )
    return kind


def _timed_in(kind: Format) -> str | None:
    """The format's runtime, where it has one and it is here to time in."""
    found = None if kind.runtime is None else find_runtime(kind.runtime)
    return None if found is None or found.available() is not None else found.name


def _timed_for_int8(kind: Format) -> str | None:
    """The same, unless lowering for it would overwrite tensors, which kernels that are made for int8 do not know."""
    name = _timed_in(kind)
    return None if name is None or find_runtime(name).runs_modules else name
