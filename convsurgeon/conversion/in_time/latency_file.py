"""The file that keeps measured times: one per place (device, threads, runtime, versions), for all models."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field, ValidationError

from convsurgeon.base.files import write_whole
from convsurgeon.base.records import Record
from convsurgeon.families.family import Spec
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread
from convsurgeon.transfer.damage_file import spec_key

__all__ = ["LatencyFile", "entry_key"]

_PACKAGE = Path(__file__).parents[2]


class _Content(Record):
    version: int = 1
    place: Place
    code: str
    layers: dict[str, dict[str, Spread]] = Field(default_factory=dict)


def entry_key(spec: Spec | None) -> str:
    """A spec as text; ``conv`` for the convolution itself."""
    return "conv" if spec is None else spec_key(spec)


class LatencyFile:
    """Times of one call, by layer case and spec; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, place: Place) -> None:
        made_by = f"{place.model_dump_json()} {_version_of(place.runtime)} {_code()}"
        name = hashlib.sha256(made_by.encode()).hexdigest()[:16]
        self._path = None if directory is None else directory / f"latency-{name}.json"
        self._place = place
        self.layers: dict[str, dict[str, Spread]] = self._read()

    def _read(self) -> dict[str, dict[str, Spread]]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            content = _Content.model_validate_json(self._path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            # A cache that can't be read is no cache: everything in it can be timed again.
            return {}
        same = content.version == 1 and content.place == self._place and content.code == _code()
        return content.layers if same else {}

    def add(self, layer: str, times: dict[str, Spread]) -> None:
        """Keep a layer's times, on disk at once, so that an interrupted run resumes here."""
        self.layers.setdefault(layer, {}).update(times)
        if self._path is None:
            return
        content = _Content(place=self._place, code=_code(), layers=self.layers)
        write_whole(self._path, json.dumps(content.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")


def _version_of(runtime: str) -> str:
    """Of the package that is named like the runtime; a place holds torch's version already."""
    try:
        return version(runtime)
    except PackageNotFoundError:
        return ""


@cache
def _code() -> str:
    """A hash of the source of the compact convolutions and of what runs them: another forward takes another time."""
    digest = hashlib.sha256()
    for folder in ("families", "runtimes"):
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
