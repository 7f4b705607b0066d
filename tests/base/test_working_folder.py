"""Whatever a model's code does, the current folder is the caller's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convsurgeon.base.working_folder import staying_here


@pytest.mark.parametrize("fails", [False, True])
def test_one_comes_back(fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After code that went elsewhere, also where it failed there."""
    monkeypatch.chdir(tmp_path)
    try:
        with staying_here():
            os.chdir("/")
            assert not fails
    except AssertionError:
        assert fails
    assert Path.cwd() == tmp_path


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be gone before, or meanwhile."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    with staying_here():
        os.chdir("/")
        gone.rmdir()
    assert Path.cwd() == Path("/")
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with staying_here():
        os.chdir("/")
    assert Path.cwd() == Path("/")
