"""The configuration's text: on which line an entry stands, and how limits are written into it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from convsurgeon.base.errors import UsageError
from convsurgeon.base.reading import read_text
from convsurgeon.budgets.config import PROJECT_FILE, shown
from convsurgeon.budgets.metrics import Metric, paste

__all__ = ["append_entry", "entry_lines", "entry_text", "insert_limits", "limit_lines"]

_HEADER = re.compile(r"\s*\[\[\s*(tool\s*\.\s*convsurgeon\s*\.\s*)?budgets\s*\]\]\s*(#.*)?")
_ANY_HEADER = re.compile(r"\s*\[.*")


def entry_lines(text: str, count: int) -> list[int] | None:
    """The line of each entry's [[…budgets]], from 1; None where the entries are written in another way."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _HEADER.fullmatch(line)]
    return lines if len(lines) == count else None


def limit_lines(values: dict[Metric, float | str]) -> list[str]:
    """Lines of TOML: today's numbers rounded up to three digits, or a text as it is."""
    return [
        f'{metric} = "{value if isinstance(value, str) else paste(metric, value)}"' for metric, value in values.items()
    ]


def entry_text(path: Path, keys: dict[str, str], limits: list[str]) -> str:
    """A whole entry as it stands in ``path``."""
    head = "[[tool.convsurgeon.budgets]]" if path.name == PROJECT_FILE else "[[budgets]]"
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join([head, *lines, *limits]) + "\n"


def append_entry(path: Path, entry: str) -> str:
    """The file's text with one more entry at its end.

    Raises:
        UsageError: the file writes its budgets in a way that does not go together with [[…budgets]].
    """
    before = read_text(path) if path.is_file() else ""
    after = (before.rstrip() + "\n\n" if before.strip() else "") + entry
    try:
        tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{shown(path)} can't be added to by itself ({error}); put this into it:\n{entry}") from error
    return after


def insert_limits(path: Path, additions: dict[int, list[str]], count: int) -> str:
    """The file's text with lines added to the entries of these numbers (from 0).

    Raises:
        UsageError: the file writes its budgets in another way than [[…budgets]].
    """
    text = read_text(path)
    starts = entry_lines(text, count)
    wanted = "\n".join(line for lines in additions.values() for line in lines)
    if starts is not None:
        lines = text.splitlines()
        for number in sorted(additions, reverse=True):
            end = _end_of_table(lines, starts[number])
            lines[end:end] = additions[number]
        after = "\n".join(lines) + "\n"
        if _adds_only(text, after, additions):
            return after
    raise UsageError(
        f"{shown(path)} does not write its budgets as [[…budgets]] tables, so nothing was written into it; "
        f"put these lines into their entries:\n{wanted}"
    )


def _end_of_table(lines: list[str], start: int) -> int:
    """The index behind the last line of content of the table whose header is line ``start``."""
    end = next((i for i in range(start, len(lines)) if _ANY_HEADER.fullmatch(lines[i])), len(lines))
    while end > start and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _adds_only(before: str, after: str, additions: dict[int, list[str]]) -> bool:
    """Whether the new text says what the old one said, plus these keys in these entries."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    tables = old["budgets"] if "budgets" in old else old["tool"]["convsurgeon"]["budgets"]
    for number, lines in additions.items():
        tables[number] |= tomllib.loads("\n".join(lines))
    return bool(old == new)
