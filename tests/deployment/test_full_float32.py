"""Comparisons without TF32: PyTorch's settings inside, and as they were outside, whatever the caller chose."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from convsurgeon.deployment.lowering.full_float32 import full_float32

BACKENDS: Any = torch.backends
CHOICES = (
    "pass",
    "cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "matmul.allow_tf32 = True",
    "cudnn.conv.fp32_precision = 'ieee'; matmul.fp32_precision = 'tf32'",
)
# PyTorch's settings can't all be put back, so every choice has a process of its own: a copy of one that has torch.
_PROCESS = """
import os, sys, torch
from convsurgeon.deployment.lowering.full_float32 import full_float32
cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

def told(read):
    try:
        return read()
    except RuntimeError:
        return "contradictory"

def state():
    old = (lambda: cudnn.allow_tf32, lambda: matmul.allow_tf32, torch.get_float32_matmul_precision)
    return [told(read) for read in old] + [place.fp32_precision for place in (cudnn.conv, cudnn.rnn, matmul)]

for choice in sys.argv[1:]:
    if (child := os.fork()) == 0:
        break
    assert os.waitpid(child, 0)[1] == 0, choice
else:
    sys.exit()
exec(choice)
before = state()
try:
    with full_float32(torch.device("cuda")):
        assert "tf32" not in state(), state()
        assert True not in state(), state()
        if "contradictory" not in before:
            with cudnn.flags(enabled=False):  # reads the old settings
                pass
        raise KeyError
except KeyError:
    pass
assert state() == before, (before, state())
os._exit(0)
"""


def test_nothing_is_rounded_inside_and_every_setting_comes_back() -> None:
    """Old and new settings, left alone or changed by the caller, and an error inside."""
    done = subprocess.run([sys.executable, "-c", _PROCESS, *CHOICES], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_cpu_has_nothing_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other devices the process's settings stay untouched, so that comparisons don't meet there."""
    monkeypatch.setattr(BACKENDS.cudnn, "allow_tf32", True)
    with full_float32(torch.device("cpu")):
        assert BACKENDS.cudnn.conv.fp32_precision == "tf32"
