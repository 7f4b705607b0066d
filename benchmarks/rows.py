"""Records as JSON, one a line: kept in the repository beside the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from convsurgeon.base.files import write_whole
from convsurgeon.base.records import Record

__all__ = ["read_rows", "write_rows"]

R = TypeVar("R", bound=Record)


def read_rows(kind: type[R], path: Path) -> list[R]:
    """Whatever is there; nothing if the file is not."""
    if not path.is_file():
        return []
    return [kind.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(rows: Sequence[Record], path: Path) -> None:
    """Whole, or not at all."""
    write_whole(path, "".join(f"{row.model_dump_json()}\n" for row in rows))
