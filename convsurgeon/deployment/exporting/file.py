"""``export``: a network as a file, written whole or not at all, and compared with the network first."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError, OutputExists, UsageError
from convsurgeon.base.files import refuse_unwritable
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting.format import Format
from convsurgeon.deployment.exporting.formats import format_for
from convsurgeon.deployment.lowering import lower
from convsurgeon.runtimes.closeness import allowed, largest_disagreement
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.survey.sites import refuse_unusable

__all__ = ["Exported", "export"]


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
    refuse_unusable(model)
    path = Path(path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        written = kind.write(network, inputs, draft)
        error = largest_disagreement(original, kind.read(draft), inputs, free_batch=written.dynamic_batch)
        tolerance = allowed(original)
        if error > tolerance:
            raise ModelRunError(
                f"the {kind.name} file computes something else: its outputs differ by {error:.1e}, allowed "
                f"{tolerance:.0e}; nothing was written. Try another format{', or --no-lower' if lowered else ''}."
            )
        for suffix in (*kind.beside, kind.suffix):
            draft.with_suffix(suffix).replace(path.with_suffix(suffix))
    return Exported(path, kind.name, written.dynamic_batch, error, steps, written.notes)


def require_writable(path: Path, format: str | None, force: bool) -> Format:
    """The path's format; raises what `export` raises before it looks at a model."""
    kind = format_for(path, format)
    if (reason := kind.missing()) is not None:
        raise UsageError(f"the format '{kind.name}' can't be written: {reason}")
    for suffix in (kind.suffix, *kind.beside):
        refuse_existing_file(path.with_suffix(suffix), force)
    return kind


def refuse_existing_file(path: Path, force: bool) -> None:
    """Raise OutputExists for a file that is there, unless it may be replaced; a folder never is.

    Raises:
        UsageError: nothing can be written there.
    """
    refuse_unwritable(path)
    if path.is_dir():
        raise OutputExists(f"'{path}' is a folder, which no file replaces; choose another -o FILE.")
    if path.exists() and not force:
        raise OutputExists(f"'{path}' exists already; choose another -o FILE, or pass --force to replace it.")


def _timed_in(kind: Format) -> str | None:
    """The format's runtime, where it is here to time in."""
    return kind.runtime if find_runtime(kind.runtime).available() is None else None
