"""The networks one by one, as tables: what nobody reads but on the site."""

from __future__ import annotations

from collections.abc import Sequence

from compatibility.records import Cell, NetworkRow

__all__ = ["tables"]


def tables(rows: Sequence[NetworkRow]) -> str:
    """A table for each library, one line a network."""
    parts = []
    for library in dict.fromkeys(row.library for row in rows):
        parts += [f"## {library}", _networks([row for row in rows if row.library == library])]
    return "\n\n".join(parts) + "\n"


def _networks(rows: Sequence[NetworkRow]) -> str:
    methods = list(dict.fromkeys(cell.method for row in rows for cell in row.cells))
    lines = ["| network | input | GMACs | convolutions | " + " | ".join([*methods, "export", "calibrated", "s"]) + " |"]
    lines.append("|---" * (len(methods) + 7) + "|")
    lines += [_line(row, methods) for row in rows]
    return "\n".join(lines)


def _line(row: NetworkRow, methods: Sequence[str]) -> str:
    facts = [row.name, f"{row.inputs}{' ↓' if row.reduced else ''}", f"{row.macs / 1e9:.2f}", str(row.convolutions)]
    shown = ["" if (cell := row.cell(method)) is None else _shown(cell) for method in methods]
    exported = [check.state for cell in row.cells if (check := cell.checks.get("export")) is not None]
    calibrated = [check.state for name, check in row.checks.items() if name == "calibrated"]
    checks = [_MARKS[found[0]] if found else "" for found in (exported, calibrated)]
    return "| " + " | ".join([*facts, *shown, *checks, f"{row.seconds:.0f}"]) + " |"


_MARKS = {"ok": "yes", "failed": "**no**", "left out": "–"}


def _shown(cell: Cell) -> str:
    if not cell.green:
        return f"**failed**: {', '.join(cell.failed)}"
    if cell.outcome == "nothing":
        return "–"
    if cell.outcome == "refused":
        return f"≥ {cell.reachable or 0:.0%}".replace("%", " %")
    return f"{cell.kept or 0:.1%}".replace("%", " %")
