"""A checkpoint that holds several networks, on the command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from convsurgeon.cli.app import run

FACTORY = """\
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))

build.example_inputs = torch.zeros(1, 3, 12, 12)
"""
NOTE = "note: the weights are the file's 'state_dict_ema'; passed over 'state_dict'"


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    state = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3)).state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, "w.ckpt")


def test_a_key_chooses_and_the_report_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key the checkpoint is refused with its keys; with one it is read, noted, and named to apply."""
    command = ["plan", "mine.py:build", "--method", "compconv128", "--weights", "w.ckpt"]
    assert run(command) == 2
    assert (
        "holds several state dicts: 'state_dict', 'state_dict_ema'. Choose with --weights-key"
        in capsys.readouterr().err
    )
    assert run([*command, "--weights-key", "state_dict_ema"]) == 0
    out = capsys.readouterr().out
    assert NOTE in out
    again = out.strip().rpartition("convsurgeon ")[2]
    assert "--weights-key state_dict_ema" in again
    assert run([*shlex.split(again), "-o", "saved"]) == 0
    assert NOTE in capsys.readouterr().out


def test_lower_takes_a_key_and_says_what_it_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A network that is lowered by its name is read from the chosen place, which is said on standard error."""
    command = ["lower", "mine.py:build", "--runtime", "none", "--weights", "w.ckpt", "-o", "a.pt2"]
    assert run(command) == 2
    assert run([*command, "--weights-key", "state_dict_ema"]) == 0
    assert NOTE in capsys.readouterr().err
