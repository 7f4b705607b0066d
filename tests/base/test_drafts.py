"""What is written is there whole or not at all: after errors, kills, on full disks; and the next run clears up."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from convsurgeon.base import drafts
from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import OutputExists, UsageError
from convsurgeon.base.files import write_folder, write_whole

# Writes NEW over OLD (a folder, or two files) and dies before the given call that renames or exchanges.
KILLED = """
import os, sys
from pathlib import Path
from convsurgeon.base import drafts
from convsurgeon.base.drafts import drafting
folder, kind, left, exchange = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "exchange"
def deadly(call):
    def run(*given, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*given, **named)
    return run
drafts._exchanged = deadly(drafts._exchanged) if exchange else lambda *_: False
os.rename, os.replace, drafts.shutil.rmtree = deadly(os.rename), deadly(os.replace), deadly(drafts.shutil.rmtree)
with drafting(folder) as draft:
    if kind == "folder":
        draft = draft / "x"
        draft.mkdir()
    for name in ("a", "b"):
        (draft / name).write_text("new")
"""


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


@pytest.mark.parametrize("kill", range(8))
@pytest.mark.parametrize(("kind", "how"), [("folder", "exchange"), ("folder", "two steps"), ("files", "exchange")])
def test_a_kill_at_any_rename_leaves_the_old_or_the_new(kind: str, how: str, kill: int, tmp_path: Path) -> None:
    """After the next run, two things that belong together are both old or both new, and nothing else is there."""
    place = tmp_path / "x" if kind == "folder" else tmp_path
    place.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (place / name).write_text("old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), kind, str(kill), how], env=environment, check=False
    )
    assert done.returncode in (0, 9)
    if how == "exchange" and kind == "folder":
        assert set(_content(place).values()) in ({"old"}, {"new"})
    write_whole(tmp_path / "next", "")
    (tmp_path / "next").unlink()
    assert _content(place) in ({"a": "old", "b": "old"}, {"a": "new", "b": "new"})
    assert {path.name for path in tmp_path.iterdir()} == ({"x"} if kind == "folder" else {"a", "b"})


@pytest.mark.parametrize("alive", [True, False])
def test_only_drafts_of_dead_runs_are_cleared(alive: bool, tmp_path: Path) -> None:
    """A draft whose run holds it stays; the same draft without its run goes."""
    draft = tmp_path / ".convsurgeon-00000000.draft"
    draft.mkdir()
    lock = drafts._lock(draft)
    if not alive:
        os.close(lock)
    write_whole(tmp_path / "a", "")
    assert draft.exists() == alive
    if alive:
        os.close(lock)


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.usefixtures("little_room")
def test_no_room_is_one_clear_error(size: int, tmp_path: Path) -> None:
    """What does not fit is a message, and the old file stays; what just fits is written."""
    path = tmp_path / "a"
    path.write_text("old")
    if size == 1000:
        write_whole(path, "x" * size)
    else:
        with pytest.raises(UsageError, match=r"no space left at '.*' \(File too large\); nothing was changed"):
            write_whole(path, "x" * size)
        assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("little_room")
def test_tensors_without_room_are_one_clear_error(tmp_path: Path) -> None:
    """Also where another language's library writes."""
    import torch

    from convsurgeon.base.tensor_file import write_tensors

    with pytest.raises(UsageError, match="no space left at"), drafting(tmp_path) as draft:
        write_tensors(draft / "a", {"x": torch.zeros(1000)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.usefixtures("little_room")
def test_no_room_leaves_no_new_folder(size: int, tmp_path: Path) -> None:
    """Folders that were made for what does not fit go again; those that were there, or hold something, stay."""
    (tmp_path / "there").mkdir()
    with suppress(UsageError):
        write_whole(tmp_path / "there" / "new" / "newer" / "a", "x" * size)
    assert (tmp_path / "there").is_dir()
    assert (tmp_path / "there" / "new").exists() == (size == 1000)


def test_what_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """A file that somebody puts into the folder while it is written anew is not lost."""
    place = tmp_path / "x"
    write_folder(place, lambda new: (new / "a").touch(), force=True, own=("a",))

    def write(new: Path) -> None:
        (new / "a").touch()
        (place / "notes.txt").touch()

    with pytest.raises(OutputExists, match=r"does not replace it: notes\.txt"):
        write_folder(place, write, force=True, own=("a",))
    assert sorted(path.name for path in place.iterdir()) == ["a", "notes.txt"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """The file that a link names is replaced, and not the link; something that is no file is neither."""
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to("there")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"
    with pytest.raises(UsageError, match="'/dev/null' is no file"):
        write_whole(Path("/dev/null"), "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="exchanging is Linux's")
def test_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    """Where the file system can, a folder's place is never empty."""
    for name in ("a", "b"):
        (tmp_path / name / name).mkdir(parents=True)
    assert drafts._exchanged(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
