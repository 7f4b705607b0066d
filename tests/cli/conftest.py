"""The command line inside of the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from convsurgeon.cli import app


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs one command in the folder that the test is in."""

    def once(*words: str) -> Ended:
        capsys.readouterr()
        code = app.run(words)
        return Ended(code, *capsys.readouterr())

    return once
