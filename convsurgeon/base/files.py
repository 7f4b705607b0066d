"""Files and folders that are there whole or not at all, and what may be replaced by them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import OutputExists, UsageError

__all__ = [
    "refuse_existing",
    "refuse_existing_file",
    "refuse_existing_package",
    "refuse_unwritable",
    "write_file",
    "write_folder",
    "write_whole",
]

_SHOWN = 5


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside the old file and take its place; folders on the way are made.

    Raises:
        UsageError: there is no room, or something that is no file.
    """
    # Through a link, which is not ours to replace.
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise UsageError(f"'{path}' is no file, so no file replaces it; choose another name.")
    with drafting(path.parent) as draft:
        (draft / path.name).write_bytes(content.encode() if isinstance(content, str) else content)


def refuse_existing(directory: Path, force: bool, own: Sequence[str]) -> None:
    """Refuse to overwrite, unless with ``force`` an empty folder, or one that holds only files named in ``own``.

    The first of those names is in every saved folder.

    Raises:
        OutputExists: the folder is there and ``force`` is not given, or something else is in it.
        UsageError: nothing can be written there.
    """
    refuse_unwritable(directory)
    if not directory.exists():
        return
    if not force:
        raise OutputExists(f"'{directory}' exists already; choose another -o DIR, or pass --force to replace it.")
    found = sorted(directory.iterdir()) if directory.is_dir() else None
    if found is None or (found and not (directory / own[0]).is_file()):
        raise OutputExists(f"'{directory}' is no saved model, so --force does not replace it; choose another -o DIR.")
    foreign = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in found
        if path.name not in own or path.is_symlink() or not path.is_file()
    ]
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise OutputExists(
            f"'{directory}' holds what is no part of a saved model, so --force does not replace it: "
            f"{', '.join(foreign[:_SHOWN])}{more}. Move that elsewhere, or choose another -o DIR."
        )


def refuse_existing_file(path: Path, force: bool) -> None:
    """Raise OutputExists for a file that is there, unless it may be replaced; a folder never is.

    Raises:
        UsageError: nothing can be written there.
    """
    refuse_unwritable(path)
    if path.is_dir():
        raise OutputExists(f"'{path}' is a folder, which no file replaces; choose another -o FILE.")
    if path.exists() and not force:
        raise OutputExists(f"'{path}' exists already; choose another -o FILE, or pass --force to replace it.")


def refuse_existing_package(path: Path, force: bool, inside: str) -> None:
    """The same for a file format whose files are folders, every one of them with a file ``inside``.

    Raises:
        OutputExists: the folder is there and ``force`` is not given, or it is something else.
        UsageError: nothing can be written there.
    """
    refuse_unwritable(path)
    if path.exists() and not force:
        raise OutputExists(f"'{path}' exists already; choose another -o FILE, or pass --force to replace it.")
    if path.exists() and not (path / inside).is_file():
        raise OutputExists(f"'{path}' holds no {inside}, so --force does not replace it; choose another -o FILE.")


def refuse_unwritable(path: Path) -> None:
    """Refuse a place where nothing can be written, before any work is lost to it.

    Raises:
        UsageError: the nearest folder above ``path`` that exists is none, or may not be written to.
    """
    above = next((folder for folder in path.absolute().parents if folder.exists()), path)
    if not above.is_dir():
        raise UsageError(f"'{path}' can't be written: '{above}' is a file, expected a folder; choose another -o.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"'{path}' can't be written: you may not write to '{above}'; choose another -o.")


def write_file(path: Path, text: str, force: bool) -> None:
    """Write a text file whole, or not at all.

    Raises:
        OutputExists: the file is there and ``force`` is not given.
    """
    if path.exists() and not force:
        raise OutputExists(f"'{path}' exists already; choose another -o FILE, or pass --force to replace it.")
    write_whole(path, text)


def write_folder(directory: Path, write: Callable[[Path], None], force: bool, own: Sequence[str]) -> Path:
    """Let ``write`` fill a new folder with files named ``own``, which then takes its place."""
    place = Path(os.path.realpath(directory))
    refuse_existing(place, force, own)
    with drafting(place.parent) as draft:
        new = draft / place.name
        new.mkdir()
        write(new)
        # Writing takes its time, in which others may have put something there.
        refuse_existing(place, force, own)
    return Path(directory)
