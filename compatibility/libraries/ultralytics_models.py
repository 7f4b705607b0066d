"""ultralytics: every YAML file that the package ships, at its smallest scale."""

from __future__ import annotations

import importlib
import os
import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from compatibility.subjects import Subject, sides_from

__all__ = ["subjects"]

_SCALES = "tnsmcblex"  # smallest first, where a file stands for one scale alone


def subjects() -> tuple[Subject, ...]:
    """One subject per file; of files that differ by their scale's letter only, the smallest."""
    os.environ.setdefault("YOLO_OFFLINE", "True")
    os.environ.setdefault("YOLO_AUTOINSTALL", "False")
    os.environ.setdefault("YOLO_VERBOSE", "False")
    folder = Path(importlib.import_module("ultralytics").__file__ or "").parent / "cfg" / "models"
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml"), key=_scale):
        files.setdefault(_unscaled(path.stem), path)
    return tuple(sorted((_subject(path) for path in files.values()), key=lambda subject: subject.name))


def _unscaled(stem: str) -> str:
    return re.sub(rf"((?:v9|v10)|rtdetr-)[{_SCALES}](?=-|$)", r"\1", stem)


def _scale(path: Path) -> tuple[int, str]:
    letter = re.search(rf"(?:v9|v10|rtdetr-)([{_SCALES}])(?:-|$)", path.stem)
    return (_SCALES.index(letter[1]) if letter else 0, path.stem)


def _subject(path: Path) -> Subject:
    native = 224 if "-cls" in path.stem else 640
    return Subject("ultralytics", path.stem, partial(_build, path), sides=sides_from(native))


def _build(path: Path) -> nn.Module:
    text = path.read_text(encoding="utf-8")
    library = importlib.import_module("ultralytics")
    reader = library.RTDETR if "RTDETRDecoder" in text else library.YOLO
    with TemporaryDirectory() as folder:
        # The name tells the library the kind of network; pretrained parts are built without weights.
        weightless = Path(folder) / path.name
        weightless.write_text(text.replace("DEFAULT", "null"), encoding="utf-8")
        network: nn.Module = reader(str(weightless)).model
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return network
