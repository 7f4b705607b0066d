"""Drafts: hidden folders in which things are written before they take their places, whole or not at all.

A draft lies beside what it will become and holds a lock that ends with its process, so that the next run that writes
there knows what a killed one left: it finishes what had begun to take its place, and clears the rest.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convsurgeon.base.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: nobody can tell who is still writing, so nobody clears
    fcntl = None  # type: ignore[assignment]

__all__ = ["drafting"]

_PREFIX, _SUFFIX = ".convsurgeon-", ".draft"
_NAME = re.compile(rf"{re.escape(_PREFIX)}\w+{re.escape(_SUFFIX)}", re.ASCII)
# Within a draft: what is being written, what is whole and takes its place, what had that place before.
_NEW, _READY, _OLD = "new", "ready", "old"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Of Linux's renameat2; see its manual.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def drafting(folder: Path) -> Iterator[Path]:
    """A folder to write in; at the end all that is in it moves to ``folder``, after an error nothing does.

    Raises:
        UsageError: there is no room.
    """
    with _room_in(folder), _standing(folder):
        _clear_abandoned(folder)
        draft, lock = _begin(folder)
        try:
            new = draft / _NEW
            new.mkdir()
            yield new
            _exchange_folders(new, folder)
            # From here on nothing turns back: what is killed now, the next run finishes.
            new.rename(draft / _READY)
            _take_places(draft)
        except Exception:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        finally:
            if not (draft / _READY).exists():
                shutil.rmtree(draft, ignore_errors=True)
            if lock is not None:
                os.close(lock)


@contextmanager
def _standing(folder: Path) -> Iterator[None]:
    """Make the folder, and those that it stands in; after an error the new ones go again, if nothing is in them."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in new:
            with suppress(OSError):
                one.rmdir()
        raise


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise UsageError(
            f"no space left at '{folder}' ({error.strerror}); nothing was changed. Make room there, or choose another "
            "place."
        ) from error


def _begin(folder: Path) -> tuple[Path, int | None]:
    """A new draft and its lock; without a lock where there are none."""
    while True:
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder))
        try:
            return draft, _lock(draft)
        except (BlockingIOError, FileNotFoundError):
            # Another run found it before it was locked, and clears it.
            continue
        except OSError:
            return draft, None


def _lock(draft: Path) -> int:
    """The draft, opened and locked until it is closed or the process ends, however it ends.

    Raises:
        OSError: another run holds or has removed it, or there are no locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    handle = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.stat()
    except OSError:
        os.close(handle)
        raise
    return handle


def _clear_abandoned(folder: Path) -> None:
    """Finish or remove the drafts of runs that are no more."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _clear(Path(entry.path))


def _clear(draft: Path) -> None:
    lock = _lock(draft)
    try:
        # Another user's draft may say that its files belong anywhere.
        if draft.stat().st_uid != os.geteuid():
            return
        for entry in _ready(draft):
            place = _place(draft, entry)
            if place.exists() and place.lstat().st_mtime_ns > entry.lstat().st_mtime_ns:
                # Somebody has put something else there since.
                entry.rename(draft / entry.name)
        with suppress(OSError):
            _take_places(draft)
        shutil.rmtree(draft)
    finally:
        os.close(lock)


def _ready(draft: Path) -> list[Path]:
    ready = draft / _READY
    return sorted(ready.iterdir()) if ready.is_dir() else []


def _place(draft: Path, entry: Path) -> Path:
    return draft.parent / entry.name


def _take_places(draft: Path) -> None:
    """Move what is ready to where it belongs; can be done again after it was cut short."""
    for entry in _ready(draft):
        place = _place(draft, entry)
        if entry.is_dir() and place.exists():
            _replace_folder(entry, place, draft / _OLD)
        else:
            entry.replace(place)
    shutil.rmtree(draft, ignore_errors=True)


def _replace_folder(entry: Path, place: Path, aside: Path) -> None:
    """In two steps, for file systems that can't exchange folders."""
    place.rename(aside)
    try:
        entry.rename(place)
    except OSError:
        aside.rename(place)
        raise


def _exchange_folders(new: Path, folder: Path) -> None:
    """Let folders take the places of others in one step each, where the file system can."""
    for entry in sorted(new.iterdir()):
        if entry.is_dir() and (folder / entry.name).exists() and _exchanged(entry, folder / entry.name):
            shutil.rmtree(entry)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two names; whether that is possible here."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    done: int = swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
