"""``--html``: pages of what a command shows, which replace pages and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convsurgeon.cli.app import run
from tests.cli.test_cli import FACTORY


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)


def _converted() -> None:
    assert run(["convert", "mine.py:build", "--method", "compconv128", "--weights", "none", "-o", "out"]) == 0


def test_a_conversion_remembers_the_command_that_made_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The page of a saved conversion ends with its command, and the time beside the original's is in its report."""
    _converted()
    assert run(["report", "out", "--html", "out.html"]) == 0
    page = Path("out.html").read_text(encoding="utf-8")
    assert "convsurgeon convert mine.py:build --method compconv128 --weights none -o out</code>" in page
    report = json.loads(Path("out/report.json").read_text())
    assert report["timing"]["original"]["samples"] >= 7
    shown = capsys.readouterr().out
    assert "one forward takes" in shown
    assert run(["report", "out", "--format", "html"]) == 0
    assert capsys.readouterr().out == page


def test_bench_and_check_write_pages_too() -> None:
    """Each beside what it shows, with its verdict; the exit code is the check's own."""
    assert run(["bench", "mine.py:build", "--runtime", "eager", "--seconds", "0.01", "--html", "b.html"]) == 0
    assert "mine.py:build: milliseconds</h1>" in Path("b.html").read_text(encoding="utf-8")
    assert run(["check", "mine.py:build", "--max-macs", "1k", "--html", "c.html"]) == 1
    page = Path("c.html").read_text(encoding="utf-8")
    assert "over budget: 1 entry" in page
    assert "convsurgeon check mine.py:build --max-macs 1k --html c.html" in page


@pytest.mark.parametrize("arguments", [["bench", "mine.py:build"], ["check", "mine.py:build"], ["report", "out"]])
def test_a_page_replaces_only_pages(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file of somebody else's stays and ends the command before any work; a page of ours is made anew."""
    Path("notes.html").write_text("<p>mine</p>")
    assert run([*arguments, "--html", "notes.html"]) == 2
    assert "'notes.html' exists already and is no page of convsurgeon's" in capsys.readouterr().err
    assert Path("notes.html").read_text() == "<p>mine</p>"


def test_a_page_is_made_anew(tmp_path: Path) -> None:
    """The same command twice writes the page twice."""
    _converted()
    for _ in range(2):
        assert run(["report", "out", "--html", "out.html"]) == 0
