"""What is asked of a file, and what of that is refused before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convsurgeon.base.errors import OutputExists, UsageError
from convsurgeon.base.files import refuse_existing_file, refuse_existing_package
from convsurgeon.deployment.exporting.format import Format, Wanted
from convsurgeon.deployment.exporting.formats import format_for

__all__ = ["Request", "require_writable"]


@dataclass(frozen=True)
class Request:
    """A file to write; ``timed_in`` is the arithmetic that forms are timed in."""

    path: Path
    kind: Format
    wanted: Wanted
    lowered: bool
    timed_in: str | None = None

    @classmethod
    def of(cls, path: Path, kind: Format, wanted: Wanted, *, lowered: bool, int8: bool) -> Request:
        """One that the format can fulfil.

        Raises:
            UsageError: an opset, free axes or a precision that such a file can't have, or one that says nothing.
        """
        if kind.one_size and wanted.free:
            raise UsageError(
                f"{', '.join(wanted.free)} can't be free: a {kind.name} file is for the example's sizes; leave free "
                "(--free) away, and write a file for each size."
            )
        _require_opset(kind, wanted.opset, kind.int8_opsets() if int8 else kind.opsets())
        if kind.precisions:
            if wanted.precision not in (None, *kind.precisions):
                raise UsageError(
                    f"a {kind.name} file can't be in '{wanted.precision}'; expected {' or '.join(kind.precisions)}."
                )
            return cls(path, kind, wanted, lowered)
        if wanted.precision is not None and not lowered:
            raise UsageError(
                f"precision '{wanted.precision}' says what to time in, but nothing is timed without lowering."
            )
        return cls(path, kind, wanted, lowered, wanted.precision)


def _require_opset(kind: Format, opset: int | None, known: range) -> None:
    if opset is None:
        return
    if not known:
        raise UsageError(f"opset {opset} belongs to ONNX; a {kind.name} file has none, leave it out.")
    if opset not in known:
        raise UsageError(
            f"opset {opset} is not one that such a file can have; expected {known.start} to {known.stop - 1}."
        )


def require_writable(path: Path, format: str | None, force: bool) -> Format:
    """The path's format; raises what `export` raises before it looks at a model."""
    kind = format_for(path, format)
    if (reason := kind.missing()) is not None:
        raise UsageError(f"the format '{kind.name}' can't be written: {reason}")
    if kind.inside is not None:
        refuse_existing_package(path, force, kind.inside)
        return kind
    for suffix in (kind.suffix, *kind.beside):
        refuse_existing_file(path.with_suffix(suffix), force)
        if path.with_suffix(suffix).exists() and not path.exists():
            raise OutputExists(
                f"'{path.with_suffix(suffix)}' belongs to no '{path}', so --force does not replace it; choose another "
                "-o FILE."
            )
    return kind
