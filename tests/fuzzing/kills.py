"""Kills commands at random moments: whatever they were to write must be whole afterwards, old or new.

    python -m tests.fuzzing.kills --number 200

The process imports everything once and forks for every command, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import convsurgeon
from convsurgeon.budgets.lock import read_lock
from convsurgeon.cli import app

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )

build.example_inputs = torch.rand(1, 3, 16, 16)
"""
BUDGETS = """
[[tool.convsurgeon.budgets]]
name = "net"
model = "net.py:build"
macs = "+0%"
"""


@dataclass(frozen=True)
class Command:
    """Words, and a check that what they write is there and whole."""

    words: str
    is_whole: Callable[[], object]


def _saved(folder: str) -> Callable[[], nn.Module]:
    return lambda: convsurgeon.load(folder, trust_factory=True)


def _lowered() -> None:
    torch.export.load("low.pt2")
    json.loads(Path("low.json").read_text())


COMMANDS = (
    Command("convert net.py:build --method igc --target macs=60% -o out --force", _saved("out")),
    Command("recover start --data images --steps 2 --trust-factory -o recovered --force", _saved("recovered")),
    Command("check --update", lambda: read_lock(Path("convsurgeon-budgets.lock")).models["net"]),  # type: ignore[union-attr]
    Command("lower start --trust-factory -o low.pt2 --force", _lowered),
    Command("export start --trust-factory -o net.pt2 --force", lambda: torch.export.load("net.pt2")),
)


def main() -> int:
    """Kill, check, and at the end look for litter."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--number", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        os.environ["CONVSURGEON_CACHE"] = f"{home}/cache"
        _set_up()
        durations = [_complete(command) for command in COMMANDS]
        for number in range(given.number):
            which = number % len(COMMANDS)
            _killed_after(COMMANDS[which], chance.uniform(0, 1.1 * durations[which]))
            COMMANDS[which].is_whole()
        for command in COMMANDS:
            _complete(command)
            command.is_whole()
        litter = [str(path) for path in Path().rglob(".convsurgeon-*")]
        print(f"{given.number} kills, nothing lost or torn; left behind after a next run: {litter or 'nothing'}")
        os.chdir("/")
    return 1 if litter else 0


def _set_up() -> None:
    Path("net.py").write_text(NET)
    Path("pyproject.toml").write_text(BUDGETS)
    Path("images").mkdir()
    for number in range(8):
        Image.new("RGB", (16, 16), (30 * number, 99, 0)).save(f"images/{number}.png")
    assert _run(["convert", "net.py:build", "--method", "igc", "--target", "macs=60%", "-o", "start"]) == 0


def _complete(command: Command) -> float:
    start = time.monotonic()
    code = _run(command.words.split())
    if code:
        sys.exit(f"'{command.words}' ends in {code}")
    return time.monotonic() - start


def _run(words: list[str]) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(_started(words), 0)[1])


def _killed_after(command: Command, seconds: float) -> None:
    child = _started(command.words.split())
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _started(words: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    os._exit(app.run(words))


if __name__ == "__main__":
    sys.exit(main())
