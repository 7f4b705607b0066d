"""The project that the budgets' tests check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budgets.budget_project import NETS, Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    """A project with nets.py, outside of any runner."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys.readouterr)
    made.write("nets.py", NETS)
    before = set(sys.modules)
    yield made
    # another test's project has other modules under the same names
    for name in set(sys.modules) - before:
        if name == "nets" or name.startswith("convsurgeon_"):
            del sys.modules[name]
