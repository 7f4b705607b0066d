"""Text from outside is shown and never obeyed, and what a model's code prints or does stays apart from the answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from convsurgeon.base.outside_text import annotation, annotation_property, code_in_markdown, in_markdown, visible
from convsurgeon.cli.app import run

HOSTILE = "\x1b[2Ja[red]|`<b>\n::stop-commands::x\r##[error]y"
CODE = """\
import os, sys
import torch
from torch import nn

HOSTILE = "\\x1b[2Ja[red]|`<b>\\n::stop-commands::x\\r##[error]y"

class Untold(Exception):
    def __str__(self): raise RuntimeError("no text")

class Number(Exception):
    def __str__(self): return 3

class Strange(BaseException): pass

class Net(nn.Module):
    def __init__(self, error=None):
        super().__init__()
        self.a, self.b, self.error = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), error
        self.add_module(HOSTILE, nn.Conv2d(64, 64, 1))
    def forward(self, x):
        print("from forward")
        if self.error is not None: raise self.error
        return self._modules[HOSTILE](self.b(self.a(x)))

def plain(): return Net()
def noisy(): print("from the factory"); os.write(1, b"from the system"); os.chdir("/"); return Net()
def untold(): raise Untold
def number(): raise Number
def strange(): raise Strange
def untold_forward(): return Net(Untold())
def long(): raise RuntimeError("x" * 1_000_000)
def hostile(): raise RuntimeError("\\x1b[2J\\n::error::x")
def inside():
    net = Net(); net.me = net; return net
def listed():
    net = Net(); net.others = [net]; return net
"""
SIZE = ["--input", "1,3,9,9"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


def _obeyed(text: str) -> bool:
    """Whether a terminal or a CI runner would act on it."""
    return not text.replace("\n", "").isprintable() or re.search(r"^\s*::|##\[", text, re.MULTILINE) is not None


def test_visible_text_keeps_its_lines_and_json_its_meaning() -> None:
    """What is obeyed is escaped, plain text is left alone, and JSON reads the same."""
    assert visible("a → b\n c::d") == "a → b\n c::d"
    assert not _obeyed(visible(HOSTILE))
    document = json.dumps({"name": "\u202e\xa0\x7f##[error]\U000e0001"}, ensure_ascii=False)
    assert json.loads(visible(document)) == json.loads(document)


def test_markdown_and_annotations_can_not_be_left() -> None:
    """No text ends a cell, inline code, an annotation or one of its properties."""
    assert in_markdown("a|b\n<i>`") == "a|b &lt;i&gt;\\`"
    assert code_in_markdown("a|b`c") == "`a\\u007cb\\u0060c`"
    assert annotation("50%\n") == "50%25%0A"
    assert annotation_property("a:b,c") == "a%3Ab%2Cc"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "odd.py:plain", *SIZE],
        ["convert", "odd.py:plain", *SIZE, "--weights", "none", "--method", "compconv32", "--dry-run"],
        ["check", "odd.py:plain", *SIZE, "--max-macs", "1", "--why"],
        ["check", "odd.py:plain", *SIZE, "--max-macs", "1", "--why", "--markdown"],
        ["check", "odd.py:hostile", *SIZE],
        ["inspect", "odd.py:hostile", *SIZE],
        ["inspect", "odd.py:\x1b[2J\n::error::x", *SIZE],
        ["inspect", "--\x1b[2J"],
    ],
)
def test_no_output_is_obeyed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Names of layers, exceptions and arguments reach the terminal and the log escaped."""
    run(arguments)
    printed = capsys.readouterr()
    assert not _obeyed(printed.out)
    assert not _obeyed(printed.err)


def test_every_file_of_a_check_is_well_formed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """JUnit is XML, and each table of the summary has as many cells in every row."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert run(["check", "odd.py:plain", *SIZE, "--max-macs", "1", "--junit", "junit.xml"]) == 1
    assert "\\u001b[2Ja" in ElementTree.parse("junit.xml").getroot()[0][0][0].text
    assert run(["convert", "odd.py:plain", *SIZE, "--weights", "none", "--method", "compconv32", "-o", "out"]) == 0
    assert not _obeyed((tmp_path / "summary.md").read_text())


@pytest.mark.parametrize("command", [["inspect"], ["check"], ["convert", "--weights", "none", "--dry-run"]])
def test_json_is_alone_whatever_a_model_prints(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """What a factory and a forward print goes to standard error."""
    assert run([*command, "odd.py:noisy", *SIZE, "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out.removeprefix("from the system"))
    assert "from the factory" in err
    assert "from forward" in err


def test_a_factory_moves_no_output(tmp_path: Path) -> None:
    """Relative paths mean the directory where the command was started, wherever a factory goes."""
    assert run(["check", "odd.py:noisy", *SIZE, "--json-file", "here.json"]) == 0
    assert (tmp_path / "here.json").is_file()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *((name, 3) for name in ("untold", "number", "strange", "untold_forward", "long", "inside")),
        ("listed", 0),
        ("plain", 0),
    ],
)
def test_odd_models_end_in_one_short_error(name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Exceptions without a text or with an endless one, and a module inside of itself, end in exit 3."""
    assert run(["inspect", f"odd.py:{name}", *SIZE]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line != "from forward"]
    assert len(errors) == (code == 3)
    assert all(len(line) < 1000 for line in errors)


def test_ascii_is_enough() -> None:
    """Where standard output takes ASCII only, other signs are shown escaped; nothing fails, and nothing else prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    words = ["inspect", "odd.py:noisy", *SIZE]
    code = (
        "from convsurgeon.cli.app import reserve_standard_output, run\n"
        f"reserve_standard_output()\nassert run({words}) == run({[*words, '--json']}) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"from the" not in done.stdout
    assert json.loads(done.stdout[done.stdout.index(b"\n{") :])["layers"][2]["name"] == HOSTILE
