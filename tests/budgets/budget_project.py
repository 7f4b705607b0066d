"""A project of one's own with tiny models, and the command line on it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convsurgeon.cli.app import run

# one 3×3 convolution each: [1, 3, 10, 10] → [1, C, 8, 8], MACs = 64 · C · 27, params = 28 · C
NETS = """
import torch
from torch import nn

def make(channels):
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU())

def small():
    return make(4)

def large():
    return make(8)

def broken():
    raise RuntimeError("no such disk")

def needy(width):
    return make(width)

def _private():
    return make(1)

for one in (small, large):
    one.example_inputs = torch.zeros(1, 3, 10, 10)
"""
SMALL_MACS, SMALL_PARAMS = 64 * 4 * 27, 28 * 4
LARGE_MACS, LARGE_PARAMS = 64 * 8 * 27, 28 * 8


@dataclass(frozen=True)
class Outcome:
    """What one run of the command line did."""

    code: int
    out: str
    err: str

    def report(self) -> dict[str, Any]:
        """Standard output as JSON."""
        report: dict[str, Any] = json.loads(self.out)
        return report


@dataclass(frozen=True)
class Project:
    """A folder that is the current one."""

    folder: Path
    read: Callable[[], Any]

    def write(self, name: str, text: str) -> Path:
        """Write one of its files."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def config(self, *entries: str) -> Path:
        """Write convsurgeon.toml."""
        return self.write("convsurgeon.toml", "\n".join(f"[[budgets]]\n{entry}\n" for entry in entries))

    def check(self, *arguments: str) -> Outcome:
        """Run ``convsurgeon check``."""
        self.read()
        code = run(["check", *arguments])
        captured = self.read()
        return Outcome(code, captured.out, captured.err)

    def lock(self) -> str:
        """The lock file's text."""
        return (self.folder / "convsurgeon-budgets.lock").read_text(encoding="utf-8")

    def git(self, *arguments: str) -> None:
        """Run git."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)
