"""What people look at often answers without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "tests" / "goldens" / "released"


COMMANDS = (
    (["--help"], 0),
    (["--version"], 0),
    (["methods"], 0),
    (["methods", "--help"], 0),
    (["convert", "--help"], 0),
    (["report", str(RELEASED)], 0),
    (["report", str(RELEASED), "--json"], 0),
    (["report", str(RELEASED), "--format", "markdown"], 0),
    (["report", str(RELEASED), "--format", "html"], 0),
    ([], 2),
)
# One process for all: what one command imported, the next ones would show, too.
CODE = """
import io, sys
from contextlib import redirect_stderr, redirect_stdout
from convsurgeon.cli.app import run

for arguments, expected in {commands}:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run(arguments)
    assert (code, len(out.getvalue() + err.getvalue()) > 10) == (expected, True), (arguments, code)
    assert not {{"torch", "torchvision", "scipy", "timm"}} & sys.modules.keys(), arguments
"""


def test_telling_takes_no_torch() -> None:
    """Help, methods and a saved conversion's report are shown by a process that has imported no heavy library."""
    command = [sys.executable, "-c", CODE.format(commands=COMMANDS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
