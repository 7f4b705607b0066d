"""The file that keeps measured times: one per place (device, threads, runtime, versions), for all models."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.families.family import Spec
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread
from convsurgeon.transfer.damage_file import spec_key

__all__ = ["LatencyFile", "entry_key"]

_PACKAGE = Path(__file__).parents[2]


def entry_key(spec: Spec | None) -> str:
    """A spec as text; ``conv`` for the convolution itself."""
    return "conv" if spec is None else spec_key(spec)


class LatencyFile(CacheFile[Spread]):
    """Times of one call, by layer case and spec; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, place: Place) -> None:
        super().__init__(directory, "latency", (place.model_dump_json(), _version_of(place.runtime), _code()), Spread)


def _version_of(runtime: str) -> str:
    """The version of the package named like the runtime, if there is one; a place holds torch's already."""
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
