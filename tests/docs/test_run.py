"""The pages as somebody reads them: block after block in one folder, with the demonstration's files at hand.

``CONVSURGEON_DOCS=slow`` runs the slow blocks, too; ``scripts/docs --run`` sets it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from convsurgeon.cli.app import run
from convsurgeon.demo.sample import write_sample
from tests.docs.pages import OURS, PAGES, Block, blocks, name_of

WITH = ("", "slow") if os.environ.get("CONVSURGEON_DOCS") == "slow" else ("",)


def _reading(page: Path) -> list[Block]:
    """What is run of a page, and the files that it says to write."""
    return [block for block in blocks(page) if block.file_name or (block.runnable and block.mark in WITH)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``convsurgeon demo -o digits`` writes."""
    return write_sample(tmp_path_factory.mktemp("sample") / "digits")


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runnable for b in _reading(page))], ids=name_of)
def test_a_page_does_what_it_says(page: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command ends with exit code 0, and Python without an error."""
    for path in sample.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    names: dict[str, object] = {}
    for block in _reading(page):
        if block.file_name:
            Path(block.file_name).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, f"{page}:{block.line}", "exec"), names)
        else:
            for words in block.commands():
                _type(words, f"{name_of(page)}:{block.line}: {' '.join(words)}")


def _type(words: list[str], place: str) -> None:
    if words[0] == "cd":
        os.chdir(words[1])
        return
    assert words[0] in OURS, f"{place} is not ours to run; mark the block"
    assert run(words[1:]) == 0, place
