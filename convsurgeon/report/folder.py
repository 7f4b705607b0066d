"""What a saved conversion says of itself: its manifest, plan and report, read without torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from convsurgeon._version import __version__
from convsurgeon.base.errors import ModelLoadError, RecipeError, UnknownName
from convsurgeon.base.outside_text import in_unicode
from convsurgeon.base.reading import parse_json, read_text
from convsurgeon.base.records import Record, from_file, mistakes
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.report.record import Report, of_version_1

__all__ = [
    "MANIFEST",
    "PLAN",
    "REPORT",
    "SAVED_FILES",
    "WEIGHTS",
    "Manifest",
    "describe",
    "read_manifest",
    "read_report",
    "read_saved_plan",
    "rebuild_of",
]

MANIFEST, PLAN, REPORT, WEIGHTS = "convsurgeon.json", "plan.json", "report.json", "model.safetensors"
# All that saving writes, and so all that it may replace.
SAVED_FILES = (MANIFEST, PLAN, REPORT, WEIGHTS)


class Manifest(Record):
    """What a folder holds. ``rebuild`` is the name that builds the original architecture; None: a caller's own.

    ``weights_sha256`` is the digest of the weights' file, ``source`` the path from the folder to the file whose code
    ``rebuild`` names, ``source_sha256`` its digest; the first conversions were saved without.
    """

    format: Literal[1] = 1
    convsurgeon: str = __version__
    rebuild: str | None
    torch: str
    weights_sha256: str | None = None
    source: str | None = None
    source_sha256: str | None = None


def describe(rebuild: Rebuild | None, directory: Path) -> dict[str, str | None]:
    """How a manifest in ``directory`` tells what builds the architecture, without a path of this machine's own."""
    if rebuild is None or rebuild.file is None:
        return {"rebuild": None if rebuild is None else rebuild.name}
    where, _, function = rebuild.name.rpartition(":")
    name = f"{Path(where).name}:{function}" if Path(where).expanduser().is_absolute() else rebuild.name
    source = Path(os.path.relpath(rebuild.file, directory.resolve())).as_posix()
    if in_unicode(source) != source:
        # JSON has no name for it; the architecture is then found by its own, from where one stands.
        return {"rebuild": name}
    return {"rebuild": name, "source": source, "source_sha256": rebuild.sha256}


def rebuild_of(manifest: Manifest, folder: Path) -> Rebuild | None:
    """What builds the architecture of the network in ``folder``; None for a caller's own."""
    if manifest.rebuild is None:
        return None
    file = None if manifest.source is None else (folder.resolve() / manifest.source).resolve()
    return Rebuild(manifest.rebuild, file, manifest.source_sha256)


def read_manifest(folder: Path) -> Manifest:
    """What a saved model says of itself.

    Raises:
        UnknownName: no saved model there.
        ModelLoadError: the file is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UnknownName(f"no saved model at '{folder}': it has no {MANIFEST}.")
    try:
        return from_file(Manifest, parse_json(read_text(path), str(path)))
    except RecipeError as error:
        raise ModelLoadError(str(error)) from error
    except ValidationError as error:
        raise ModelLoadError(f"{path} is damaged or of another version:\n{mistakes(error)}") from error


def read_saved_plan(folder: Path) -> Plan:
    """The plan of a saved model."""
    return read_plan(_text(folder, PLAN), str(folder / PLAN))


def read_report(folder: Path) -> Report:
    """The report of a saved model, of this format or the first.

    Raises:
        UnknownName: no saved model there.
        RecipeError: the file is damaged.
    """
    path = folder / REPORT
    content = parse_json(_text(folder, REPORT), str(path))
    if isinstance(content, dict) and content.get("schema_version") == 1:
        plan = read_saved_plan(folder)
        try:
            content = of_version_1(content, plan)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"{path} is damaged: it is no report of version 1.") from error
    try:
        return from_file(Report, content)
    except ValidationError as error:
        raise RecipeError(f"{path} is damaged or of another version:\n{mistakes(error)}") from error


def _text(folder: Path, name: str) -> str:
    path = Path(folder) / name
    if not path.is_file():
        raise UnknownName(f"no saved model at '{folder}': it has no {name}.")
    return read_text(path)
