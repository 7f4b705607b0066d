"""docs/matrix.jsonl: one line of JSON a network, by library and name; grown network by network, method by method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compatibility.examine import Settings
from compatibility.records import NetworkRow
from compatibility.subjects import Subject
from convsurgeon import __version__
from convsurgeon.base.files import write_whole

__all__ = ["Matrix"]


class Matrix:
    """The file's rows; none where there is no file."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._path = path
        self._rows = {row.key: row for row in map(NetworkRow.model_validate_json, lines)}

    @property
    def rows(self) -> list[NetworkRow]:
        """By library and name."""
        return [row for _, row in sorted(self._rows.items())]

    def lacks(self, subject: Subject, settings: Settings, redo_failed: bool) -> Settings | None:
        """What the settings ask of the network that is not known, or failed and is to be done again; None: nothing."""
        row = self._rows.get((subject.library, subject.name))
        if row is not None and not row.versions:  # of a process that did not end by itself
            return settings if redo_failed else None
        if row is None or row.versions["convsurgeon"] != __version__ or (redo_failed and not row.green):
            return settings
        checks = tuple(check for check in settings.checks if check not in row.checks)
        methods = tuple(method for method in settings.methods if row.cell(method) is None)
        return replace(settings, methods=methods, checks=checks) if methods or checks else None

    def add(self, row: NetworkRow) -> None:
        """Take a network's row up, beside what other methods found, and write the file."""
        self._rows[row.key] = row.beside(self._rows.get(row.key))
        lines = [each.model_dump_json(exclude_defaults=True) for each in self.rows]
        write_whole(self._path, "".join(f"{line}\n" for line in lines))
