"""Files and folders that are there whole or not at all, whoever else writes them at the same moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from convsurgeon.base.errors import OutputExists, UsageError

__all__ = ["refuse_existing", "refuse_unwritable", "write_file", "write_folder", "write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write beside the old file and take its place; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: a fixed one would be shared by programs that write at the same time.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.close()
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def refuse_existing(directory: Path, force: bool, marker: str) -> None:
    """Refuse to overwrite, unless with ``force`` what holds a file named ``marker``, or nothing.

    Raises:
        OutputExists: the folder is there and ``force`` is not given, or something that is no saved model is.
        UsageError: nothing can be written there.
    """
    refuse_unwritable(directory)
    if not directory.exists():
        return
    if not force:
        raise OutputExists(f"'{directory}' exists already; choose another -o DIR, or pass --force to replace it.")
    if not (directory / marker).is_file() and (not directory.is_dir() or any(directory.iterdir())):
        raise OutputExists(f"'{directory}' is no saved model, so --force does not replace it; choose another -o DIR.")


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


def write_folder(directory: Path, write: Callable[[Path], None], force: bool, marker: str) -> Path:
    """Let ``write`` fill a temporary folder beside ``directory``, then move it there."""
    directory = Path(directory)
    refuse_existing(directory, force, marker)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        new, old = temporary / "new", temporary / "old"
        # Unlike the temporary folder, the result is as readable as any new folder.
        new.mkdir()
        write(new)
        if directory.exists():
            directory.rename(old)
        try:
            new.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory
