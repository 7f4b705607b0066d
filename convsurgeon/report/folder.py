"""What a saved conversion says of itself: its manifest, plan and report, read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from convsurgeon._version import __version__
from convsurgeon.base.errors import ModelLoadError, RecipeError, UnknownName
from convsurgeon.base.reading import parse_json, read_text
from convsurgeon.base.records import Record, from_file, mistakes
from convsurgeon.planning.plan import Plan, read_plan
from convsurgeon.report.record import Report, of_version_1

__all__ = ["MANIFEST", "PLAN", "REPORT", "Manifest", "read_manifest", "read_report", "read_saved_plan"]

MANIFEST, PLAN, REPORT = "convsurgeon.json", "plan.json", "report.json"


class Manifest(Record):
    """What a folder holds. ``rebuild`` is the name that builds the original architecture; None: a caller's own.

    ``weights_sha256`` is the digest of the weights' file; the first conversions were saved without.
    """

    format: Literal[1] = 1
    convsurgeon: str = __version__
    rebuild: str | None
    torch: str
    weights_sha256: str | None = None


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
