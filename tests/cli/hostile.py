"""Text that terminals, rich, Markdown, HTML and CI runners would act on, and commands run on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convsurgeon.cli.app import run

__all__ = ["HOSTILE", "PRINTABLE", "run_on_hostile"]

# Clears the line, is markup of rich and Markdown, starts a workflow command, turns the text round.
HOSTILE = "\x1b[2Ja[red]b[/red]|`<b>\n::stop-commands::x\r##[error]y\u202egnp.exe"
# The same for fields that take nothing but printable signs.
PRINTABLE = "a[red]b[/red]|`<b> ::stop-commands::x ##[error]y"


def _obeyed(text: str) -> bool:
    """Whether a terminal or a CI runner would act on what came from outside (annotations of ours may stand there)."""
    ours = r"^::(?:error|warning|notice|group|endgroup)\b.*$"
    text = re.sub(ours, "", text, flags=re.MULTILINE)
    return not text.replace("\n", "").isprintable() or re.search(r"^\s*::|##\[", text, re.MULTILINE) is not None


def run_on_hostile(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """Run a command on hostile text; whatever it makes of it, it is no bug and nothing is obeyed. The exit code."""
    capsys.readouterr()
    code = run(arguments)
    out, err = capsys.readouterr()
    files = (Path("..", "summary.md"), Path("junit.xml"))
    written = [path.read_text() for path in files if path.is_file()]
    for text in (out, err, *written):
        assert not _obeyed(text), (arguments, text)
        # Signs of rich's markup would be gone.
        assert "ab|" not in text
    assert code in (0, 1, 2, 3), (arguments, err)
    if "--json" in arguments and code == 0:
        json.loads(out)
    if "--markdown" in arguments:
        _require_whole_tables(out)
    return code


def _require_whole_tables(markdown: str) -> None:
    """Each table has as many cells in every row."""
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("|")]
    ruled = [line for line in markdown.splitlines() if re.fullmatch(r"[| -]+", line)]
    assert len(set(cells)) <= len(ruled)
