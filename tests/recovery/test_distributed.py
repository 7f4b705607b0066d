"""Two processes that share every batch train the network that one process trains."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convsurgeon
from convsurgeon.base.errors import UsageError
from convsurgeon.cli.app import run
from convsurgeon.recovery.engine import make_engine
from tests.cli.test_recover import FACTORY

# Batch statistics are those of each process's own images, so only frozen norms can agree.
RECOVER = (
    "recover", "net", "--data", "images", "--trust-factory", "--device", "cpu", "--norms", "frozen",
    "--steps", "5", "--batch", "6", "--label-weight", "0.5", "--lr-new", "0.01", "--lr-old", "0.01",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converted network and 15 images of two classes, one of them unreadable."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FACTORY)
    generator = np.random.default_rng(0)
    for i in range(14):
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (10, 10, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "class0" / "broken.png").write_bytes(b"no image")
    assert run(["convert", "net.py:build", "--method", "compconv32", "-o", "net"]) == 0
    return tmp_path


def _launched(processes: int, arguments: list[str]) -> list[tuple[str, str]]:
    """Standard output and error of each process, started with what a launcher sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    package = Path(convsurgeon.__file__).parent.parent
    shared = {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "convsurgeon", *arguments],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        outputs = [child.communicate(timeout=200) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0] * processes, outputs
    return outputs


def test_two_processes_give_the_result_of_one(folder: Path) -> None:
    """The same weights within rounding, from gloo on the CPU; one process writes and prints."""
    outputs = _launched(2, [*RECOVER, "-o", "two"])
    assert [out.count("saved to two") for out, _ in outputs] == [1, 0]
    assert [err.count("images can't be read") for _, err in outputs] == [1, 0]
    assert [err.count("preprocessing") for _, err in outputs] == [1, 0]
    assert run([*RECOVER, "-o", "one"]) == 0
    start, one, two = (
        convsurgeon.load(folder / name, trust_factory=True).state_dict() for name in ("net", "one", "two")
    )
    for name, tensor in one.items():
        moved = (tensor.double() - start[name].double()).norm()
        apart = (tensor.double() - two[name].double()).norm()
        assert apart <= 1e-3 * moved + 1e-6, name
    assert any(not torch.equal(one[name], start[name]) for name in one)
    reports = [convsurgeon.Report.model_validate_json((folder / n / "report.json").read_text()) for n in ("one", "two")]
    histories = [report.recovery for report in reports]
    assert [h.processes for h in histories if h] == [1, 2]
    for a, b in zip(*(h.rows for h in histories if h), strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
        assert a.score == b.score


def test_several_processes_without_accelerate_get_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where accelerate is missing, one process trains with torch alone, and several are told what to install."""
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert make_engine("cpu", "auto").processes == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"needs Hugging Face accelerate: pip install 'convsurgeon\[train\]'"):
        make_engine("cpu", "auto")
