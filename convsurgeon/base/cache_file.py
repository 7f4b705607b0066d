"""Caches: measurements in a JSON file, believed only as far as digest and schema go; no run depends on one."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from convsurgeon.base.errors import UsageError, first_line
from convsurgeon.base.files import write_whole

__all__ = ["CacheFile", "cache_directory"]

_LOG = logging.getLogger(__name__)

E = TypeVar("E")


def cache_directory() -> Path:
    """Where what was found out is kept: $CONVSURGEON_CACHE, or convsurgeon/ in the user's cache folder."""
    if own := os.environ.get("CONVSURGEON_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convsurgeon"


class CacheFile(Generic[E]):
    """Entries of one type by two names, for one ``key``; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, kind: str, key: Sequence[str], entry: type[E]) -> None:
        name = hashlib.sha256(" ".join(key).encode()).hexdigest()[:16]
        self._path = None if directory is None else directory / f"{kind}-{name}.json"
        self._key = list(key)
        self._schema: TypeAdapter[dict[str, dict[str, E]]] = TypeAdapter(dict[str, dict[str, entry]])  # type: ignore[valid-type]
        self.entries: dict[str, dict[str, E]] = self._read()

    def _read(self) -> dict[str, dict[str, E]]:
        if self._path is None:
            return {}
        try:
            content = json.loads(self._path.read_bytes())
            if content["key"] != self._key or content["digest"] != _digest(content["entries"]):
                raise ValueError("its digest is not that of its content")
            return self._schema.validate_python(content["entries"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _LOG.warning(
                "the cache '%s' is passed over (%s): what it should hold is measured anew.",
                self._path,
                "damaged" if isinstance(error, (KeyError, TypeError)) else first_line(error),
            )
            return {}

    def add(self, name: str, found: dict[str, E]) -> None:
        """Keep what was found, on disk at once, so that an interrupted run resumes here."""
        self.entries.setdefault(name, {}).update(found)
        if self._path is None:
            return
        entries = self._schema.dump_python(self.entries, mode="json")
        content = {"key": self._key, "digest": _digest(entries), "entries": entries}
        try:
            # With indents, json would be encoded by Python itself, anew for every entry.
            write_whole(self._path, json.dumps(content, sort_keys=True) + "\n")
        except (OSError, UsageError) as error:
            _LOG.warning("the cache '%s' can't be written (%s): what is measured is not kept.", self._path, error)
            self._path = None


def _digest(entries: Any) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
