"""What people look at often answers without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "tests" / "goldens" / "released"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["methods"],
        ["convert", "--help"],
        ["report", str(RELEASED)],
        ["report", str(RELEASED), "--json"],
        ["report", str(RELEASED), "--format", "markdown"],
        ["report", str(RELEASED), "--format", "html"],
    ],
    ids=lambda words: " ".join(word.removeprefix(str(ROOT)) for word in words),
)
def test_telling_takes_no_torch(arguments: list[str]) -> None:
    """Help, methods and a saved conversion's report are shown by a process that has not imported torch."""
    code = (
        "import sys\nfrom convsurgeon.cli.app import run\n"
        f"code = run({arguments!r})\nprint('torch' in sys.modules, code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "False 0"
    assert len(done.stdout) > 10
