"""``export``: a network as a file, written whole or not at all, and compared with the network first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import ModelRunError, OutputExists, UsageError
from convsurgeon.base.files import refuse_existing_file
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting.format import Format, Written
from convsurgeon.deployment.exporting.formats import format_for
from convsurgeon.deployment.lowering import lower
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
        format: ``pt2``, ``onnx`` or ``openvino``.
        dynamic_batch: whether it takes any batch size, or only that of the example inputs.
        error: the largest |a − b| / max(1, max |a|) of its outputs in float32, read from the file.
        steps: what lowering did; empty where it was not asked for.
        notes: what people should know of how it was written.
    """

    path: Path
    format: str
    dynamic_batch: bool
    error: float
    steps: tuple[str, ...]
    notes: tuple[str, ...]


def export(
    model: nn.Module,
    example_inputs: Any,
    path: Path | str,
    *,
    format: str | None = None,
    lowered: bool = True,
    precision: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a network to a file that runs without convsurgeon; the model is untouched.

    Lowering times its forms on the CPU, wherever the model is. For a GPU, lower there and export with
    ``lowered=False``, as ``convsurgeon lower --device cuda`` does.

    Args:
        model: a converted network or any other.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        path: ends in ``.pt2`` (torch.export), ``.onnx`` or ``.xml`` (OpenVINO).
        format: ``pt2``, ``onnx`` or ``openvino``; by default what the path ends in.
        lowered: bring the network into its deployment form first (see ``lower``).
        precision: the arithmetic that forms are timed in; None for what the file's runtime takes by itself.
        force: replace a file that is there.

    Raises:
        UnknownName: an unknown format, or a path that says none.
        UsageError: the format's packages are not installed, a precision that its runtime lacks, or one for nothing.
        OutputExists: the file is there and ``force`` is not given.
        ModelLoadError, ModelRunError: the model can't be copied, run or brought into the format.
    """
    return export_described(
        model, example_inputs, Path(path), format=format, lowered=lowered, precision=precision, force=force
    )


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
    refuse_unusable(model)
    kind = require_writable(path, format, force)
    if precision is not None and not lowered:
        raise UsageError(f"precision '{precision}' says what to time in, but nothing is timed without lowering.")
    original = duplicate(model).eval().cpu()
    inputs = as_inputs(example_inputs).like(original)
    steps: tuple[str, ...] = ()
    network = original
    if lowered:
        done = lower(original, inputs, runtime=_timed_in(kind), precision=precision)
        network, steps = done.model, done.summary()
    with drafting(path.parent) as folder:
        draft = folder / path.name
        written = kind.write(network, inputs, draft)
        error = largest_disagreement(original, kind.read(draft), inputs, free_batch=written.dynamic_batch)
        tolerance = allowed(original)
        if error > tolerance:
            raise ModelRunError(
                f"the {kind.name} file computes something else: its outputs differ by {error:.1e}, allowed "
                f"{tolerance:.0e}; nothing was written. Try another format{', or --no-lower' if lowered else ''}."
            )
        if described is not None:
            draft.with_suffix(described.suffix).write_text(described.text(written), encoding="utf-8")
    return Exported(path, kind.name, written.dynamic_batch, error, steps, written.notes)


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
    """The format's runtime, where it is here to time in."""
    return kind.runtime if find_runtime(kind.runtime).available() is None else None
