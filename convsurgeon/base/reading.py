"""Text, JSON and TOML as people and programs leave them: read whole, or refused with the place of the mistake."""

from __future__ import annotations

import codecs
import datetime
import io
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from convsurgeon.base.errors import RecipeError

__all__ = ["MOST", "decoded", "parse_json", "parse_toml", "read_text", "require_plain"]

# What 64 bits hold; no count, size or seed is larger, and torch takes none.
MOST = 2**63 - 1
_DEEPEST = 50
_SHOWN_CHARACTERS = 40
_WIDER = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """A UTF-8 file's text, with or without a byte order mark.

    Raises:
        RecipeError: it is in another encoding, or no text.
    """
    return decoded(path.read_bytes(), str(path))


def decoded(content: bytes, origin: str) -> str:
    """The text of ``content``; ``origin`` names it in messages.

    Raises:
        RecipeError: not UTF-8.
    """
    if content.startswith(_WIDER) or b"\0" in content:
        raise RecipeError(f"{origin} is UTF-16 or no text at all; expected UTF-8. Save it again as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise RecipeError(
            f"{origin} is not UTF-8: byte 0x{error.object[error.start]:02x} at line {line}, byte {column}. "
            "Save it again as UTF-8."
        ) from error
    return io.StringIO(text, newline=None).read()


def parse_json(text: str, origin: str) -> Any:
    """A JSON text's content.

    Raises:
        RecipeError: no JSON, a key that stands twice in one object, or what ``require_plain`` refuses.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise RecipeError(f"{origin} is nested too deeply to be read.") from error
    except ValueError as error:
        raise RecipeError(f"{origin} is not JSON: {_words(error)}.") from error
    require_plain(content, origin)
    return content


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """A TOML text's content; ``require_plain`` is left to the caller, since a file may hold other programs' tables.

    Raises:
        RecipeError: no TOML.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise RecipeError(f"{origin} is nested too deeply to be read.") from error
    except ValueError as error:
        raise RecipeError(f"{origin} is not TOML: {_words(error)}.") from error


def require_plain(content: Any, origin: str) -> None:
    """Refuse what JSON can't hold, and numbers that no field of ours takes.

    Raises:
        RecipeError: a whole number beyond 64 bits, NaN, infinity, a date, or endless nesting; the message says where.
    """
    left: list[tuple[tuple[Any, ...], Any]] = [((), content)]
    while left:
        where, value = left.pop()
        if len(where) > _DEEPEST:
            raise RecipeError(f"{origin} is nested too deeply to be read: more than {_DEEPEST} levels.")
        if isinstance(value, dict):
            left.extend(((*where, key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            left.extend(((*where, number), inner) for number, inner in enumerate(value))
        elif problem := _not_plain(value):
            raise RecipeError(f"{origin} has a mistake:\n  {'.'.join(map(str, where)) or 'file'}: {problem}.")


def _not_plain(value: Any) -> str | None:
    if isinstance(value, int) and not -MOST <= value <= MOST:
        return f"a whole number of {value.bit_length()} bits; expected one between −{MOST} and {MOST}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}; expected a finite number"
    if isinstance(value, (datetime.date, datetime.time)):
        return f"the date or time {value}; expected a text, a number, true, false or a list"
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in content if keys.count(key) > 1)
        name = content.get("name")
        where = f"the object named '{name[:_SHOWN_CHARACTERS]}'" if isinstance(name, str) else "one object"
        raise ValueError(f"the key '{twice[:_SHOWN_CHARACTERS]}' stands twice in {where}; keep one of the two")
    return content


def _words(error: ValueError) -> str:
    """The parser's words; Python's own advice about endless numbers is none to a reader."""
    return str(error).partition(";")[0].rstrip(".") if "digits" in str(error) else str(error)
