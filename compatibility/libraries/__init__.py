"""The libraries of the matrix; each file says which of a library's networks are examined."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from compatibility.subjects import Subject

__all__ = ["LIBRARIES", "silent", "subjects_of"]

LIBRARIES = ("torchvision", "timm", "segmentation_models_pytorch", "ultralytics", "transformers")
_FILES = {name: f"compatibility.libraries.{name}_models" for name in LIBRARIES} | {
    "segmentation_models_pytorch": "compatibility.libraries.smp_models"
}

Progress = Callable[[int, int, str], None]


def silent(_done: int, _total: int, _name: str) -> None:
    """Shows nothing."""


def subjects_of(library: str, cache: Path, progress: Progress = silent) -> tuple[Subject, ...]:
    """The networks of a library; none where it is not installed. ``cache`` keeps what timm's scan finds."""
    if find_spec(library) is None:
        return ()
    home = importlib.import_module(_FILES[library])
    return home.subjects(cache, progress) if library == "timm" else home.subjects()
