"""The tables, in the places of their subjects' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks import places
from benchmarks.real.methods import METHODS
from benchmarks.real.row import ORIGINAL, Row
from benchmarks.real.subject import Subject

__all__ = ["filled", "table"]


def filled(page: str, rows: Sequence[Row], subjects: Mapping[str, Subject]) -> str:
    """The page with each subject's table in its place."""
    tables = {name: table(subject, [row for row in rows if row.subject == name]) for name, subject in subjects.items()}
    return places.filled(page, tables)


def table(subject: Subject, rows: Sequence[Row]) -> str:
    """A subject's rows: the original, then each share's methods in their order, and which of them did not get there;
    what was not run is left out."""
    known = {(row.method, row.target): row for row in rows}
    original = known.get((ORIGINAL, 1.0))
    if original is None:
        return "Nothing measured yet.\n"
    runtimes = sorted({time.runtime for row in rows for time in row.times})
    heads = ["method", "MACs", "params", *subject.measures.values(), "output error, %", "CPU s"]
    heads += [f"{runtime}, ms (of the original's)" for runtime in runtimes]
    lines = [
        _line(heads),
        _line(["---"] * len(heads)),
        _line(_cells("original", original, original, subject, runtimes)),
    ]
    for share in subject.shares:
        for name, method in METHODS.items():
            if (row := known.get((name, share))) is not None and not row.failed:
                lines.append(_line(_cells(f"{method.title}, {share:.3g}", row, original, subject, runtimes)))
    return f"From {original.source}.\n\n" + "".join(lines) + _not_reached(subject, known)


def _not_reached(subject: Subject, known: Mapping[tuple[str, float], Row]) -> str:
    """A line of those that did not get there, by share."""
    failed = {
        share: [method.title for name, method in METHODS.items() if (row := known.get((name, share))) and row.failed]
        for share in subject.shares
    }
    listed = "; ".join(f"{share:.3g} by {', '.join(titles)}" for share, titles in failed.items() if titles)
    return f"\nNot reached: {listed}.\n" if listed else ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cells(title: str, row: Row, original: Row, subject: Subject, runtimes: Sequence[str]) -> list[str]:
    error = "–" if row.output_error is None else f"{100 * row.output_error:.2f}"
    times = {time.runtime: time for time in row.times}
    return [
        title,
        f"{row.macs / original.macs:.1%}" if row is not original else f"{row.macs / 1e9:.2f} G",
        f"{row.params / original.params:.1%}" if row is not original else f"{row.params / 1e6:.2f} M",
        *(f"{row.measures[name]:.3f}" for name in subject.measures),
        error if row is not original else "0",
        f"{row.seconds:.0f}" if row is not original else "–",
        *(
            f"{times[name].ms:.1f} ({times[name].ms / times[name].original_ms:.2f})" if name in times else "–"
            for name in runtimes
        ),
    ]
