"""Every example runs as it stands, without weights."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {
    "own_model": "torch",
    "segmentation_unet": "segmentation_models_pytorch",
    "timm_efficientnet": "timm",
    "torchvision_detector": "torchvision",
    "yolo": "ultralytics",
}


def test_every_example_is_run() -> None:
    """No example stands outside these tests, and each has fewer than 40 lines."""
    files = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in files] == sorted(NEEDS)
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 40 for path in files)


@pytest.mark.parametrize("name", sorted(set(NEEDS) - {"yolo"}))
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends without an error and says what became smaller."""
    pytest.importorskip(NEEDS[name], reason=f"the example needs {NEEDS[name]}")
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert " → " in capsys.readouterr().out


def test_the_yolo_example_runs(tmp_path: Path) -> None:
    """It ends without an error; in a process of its own, since its library changes torch's functions on import."""
    if find_spec(NEEDS["yolo"]) is None:
        pytest.skip("the example needs ultralytics")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / "yolo.py")],
        cwd=tmp_path,
        env=os.environ | {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "True", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " → " in done.stdout
