"""A model's code may do anything; a gate's verdict and exit code stay what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convsurgeon.cli.app import run

CODE = """\
import os
import sys
import torch
from torch import nn


AWAY = os.path.join(os.path.dirname(__file__), "away")


def exporting():
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


class Strange(BaseException):
    pass


class Net(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.a, self.b, self.end = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), end

    def forward(self, x):
        if self.end == "exit":
            sys.exit()
        if self.end == "moves":
            os.chdir(AWAY)
        if self.end == "strange":
            raise Strange("very")
        if self.end == "closes":
            raise GeneratorExit
        if self.end == "interrupted":
            raise KeyboardInterrupt
        if self.end == "traced" and (isinstance(x, torch.fx.Proxy) or exporting()):
            raise GeneratorExit
        return self.b(self.a(x))


def exits(): return Net("exit")
def strange(): return Net("strange")
def closes(): return Net("closes")
def interrupted(): return Net("interrupted")
def traced(): return Net("traced")
def unmade(): raise GeneratorExit
def moves(): return Net("moves")
def plain(): return Net("")
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "code"), [("exits", 3), ("strange", 3), ("closes", 3), ("plain", 0)])
@pytest.mark.parametrize("command", ["check", "convert", "inspect"])
def test_a_forward_that_ends_the_program_is_a_model_that_cant_be_run(
    name: str, code: int, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """sys.exit, and what is no Exception, end in exit 3 with the words; the same network without them passes."""
    more = {"convert": ["--method", "compconv32", "--dry-run", "--weights", "none"], "check": ["--max-macs", "99G"]}
    size = ["--input", "1,3,9,9"]
    assert run([command, f"odd.py:{name}", *size, *more.get(command, [])]) == code
    printed = capsys.readouterr()
    assert ("fails on inputs" in printed.out + printed.err) == (code == 3)


@pytest.mark.parametrize(("name", "code"), [("unmade", 3), ("closes", 3), ("interrupted", 130)])
def test_only_an_interruption_is_no_failure_of_the_models(
    name: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a factory or a forward raises is exit 3 in one line; Ctrl-C in them stays an interruption."""
    assert run(["inspect", f"odd.py:{name}", "--input", "1,3,9,9"]) == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("ending", ["pt2", "onnx"])
@pytest.mark.parametrize(("name", "code"), [("traced", 3), ("plain", 0)])
def test_what_a_forward_raises_while_it_is_traced_is_its_own(
    name: str, code: int, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exporters run the model's code as well: what is no Exception ends in exit 3, with its name."""
    if ending == "onnx":
        pytest.importorskip("onnxruntime")
    size = ["--input", "1,3,9,9", "--weights", "none"]
    assert run(["export", f"odd.py:{name}", *size, "-o", f"net.{ending}"]) == code
    assert ("GeneratorExit" in capsys.readouterr().err) == (code == 3)


def test_a_forward_moves_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Relative paths mean the folder where the command was started, wherever a model's forward goes."""
    (tmp_path / "away").mkdir()
    size = ["odd.py:moves", "--input", "1,3,9,9"]
    assert run(["convert", *size, "--method", "compconv32", "--weights", "none", "-o", "out"]) == 0
    assert run(["lower", *size, "--weights", "none", "--runtime", "none", "-o", "net.pt2"]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"out", "net.pt2", "net.json"}
    assert not list((tmp_path / "away").iterdir())


@pytest.mark.parametrize(("limit", "code"), [("1k", 1), ("99G", 0)])
def test_a_reader_that_leaves_takes_no_verdict_with_it(limit: str, code: int) -> None:
    """``check … | true``: over budget is exit 1, whether or not somebody reads why."""
    read, write = os.pipe()
    os.close(read)
    arguments = ["check", "odd.py:plain", "--input", "1,3,9,9", "--max-macs", limit]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "convsurgeon", *arguments], stdout=write, stderr=subprocess.PIPE, env=environment
    )
    os.close(write)
    assert (done.returncode, done.stderr.decode()) == (code, "")
