"""Which of timm's networks stand for all of them: the smallest of every family that has a convertible convolution.

A family is the file a network is defined in and the word its name starts with (``byobnet`` holds ``gernet``,
``repvgg``, ``mobileone`` …). "Convertible" is read off the modules alone: a convolution with groups=1 and at least 16
channels on both sides. Every registered network is built once without weights; the result is kept per timm version.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from compatibility.quick_init import quick_init
from compatibility.witness import wide_convolutions

__all__ = ["Scanned", "chosen", "family", "read_scan", "scan"]


@dataclass(frozen=True)
class Scanned:
    """What building a network without weights shows; ``problem`` says why it could not be built."""

    name: str
    family: tuple[str, str]
    params: int = 0
    wide: int = 0
    problem: str = ""


def family(name: str) -> tuple[str, str]:
    """The file that defines a network, and the letters its name starts with."""
    timm = importlib.import_module("timm")
    home = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    letters = re.match(r"[a-z]+", name)
    return home, letters[0] if letters else name


def scan(cache: Path, progress: Callable[[int, int, str], None] = lambda *_: None) -> tuple[Scanned, ...]:
    """Build every registered network once, or read what an earlier scan of the same timm found."""
    timm = importlib.import_module("timm")
    names = timm.list_models()
    path = cache / f"timm-{timm.__version__}.jsonl"
    known = {row.name: row for row in read_scan(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for number, name in enumerate(names):
            progress(number, len(names), name)
            if name not in known:
                known[name] = _scanned(name)
                file.write(json.dumps(asdict(known[name])) + "\n")
                file.flush()
    return tuple(known[name] for name in names)


def read_scan(path: Path) -> Iterator[Scanned]:
    """The rows of an earlier scan; none where there was none."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield Scanned(**(row | {"family": tuple(row["family"])}))


def _scanned(name: str) -> Scanned:
    try:
        network = _weightless(name)
    except Exception as error:
        # Building a network runs any code, so any exception may come out of it; it becomes a row.
        return Scanned(name, family(name), problem=f"{type(error).__name__}: {str(error).splitlines()[:1]}")
    params = sum(parameter.numel() for parameter in network.parameters())
    return Scanned(name, family(name), params, len(wide_convolutions(network)))


def _weightless(name: str) -> nn.Module:
    """On the meta device, or on real numbers where the constructor computes with its tensors."""
    timm = importlib.import_module("timm")
    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False)
    except (RuntimeError, NotImplementedError):
        with quick_init():
            return timm.create_model(name, pretrained=False)


def chosen(rows: tuple[Scanned, ...]) -> tuple[str, ...]:
    """The name with the fewest parameters of each family that has a convertible convolution, sorted."""
    smallest: dict[tuple[str, str], Scanned] = {}
    for row in rows:
        if not row.wide or row.problem:
            continue
        best = smallest.get(row.family)
        if best is None or (row.params, row.name) < (best.params, best.name):
            smallest[row.family] = row
    return tuple(sorted(row.name for row in smallest.values()))


if __name__ == "__main__":
    scan(Path(sys.argv[1]))
