"""Core ML packages are looked at and never said to have been run; coremltools is imitated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.base.errors import ModelRunError, OutputExists, UsageError
from convsurgeon.cli.app import run
from convsurgeon.deployment.exporting import coreml_file
from convsurgeon.runtimes.coreml import CoreMlContent

X = torch.rand(1, 3, 8, 8)
HELD = CoreMlContent({"input": (1, 3, 8, 8)}, {"output": (1, 4, 8, 8)}, {"conv": 1, "relu": 1}, 216)


def build() -> nn.Module:
    """What the imitated packages hold."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()


build.example_inputs = X  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What was asked of coremltools; packages hold a manifest, and are read back as HELD or what stands here."""
    given: dict[str, object] = {"content": HELD}

    def write(program: object, outputs: object, precision: str | None, path: Path) -> None:
        given.update(outputs=outputs, precision=precision)
        path.mkdir()
        (path / "Manifest.json").write_text("{}")

    monkeypatch.setattr(coreml_file, "coreml_missing", lambda: None)
    monkeypatch.setattr(coreml_file, "write_coreml", write)
    monkeypatch.setattr(coreml_file, "coreml_content", lambda path: given["content"])
    return given


def test_a_package_that_was_not_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: dict[str, object]
) -> None:
    """In Python, in words and as JSON: no error is claimed, and what was looked at is told; .pt2 is compared."""
    done = convsurgeon.export(build(), X, tmp_path / "net.mlpackage")
    assert (done.error, done.free, done.format) == (None, (), "coreml")
    assert done.not_run == "Core ML runs on Apple's systems alone"
    assert (written["outputs"], written["precision"]) == (["output"], None)
    assert convsurgeon.export(build(), X, tmp_path / "net.pt2").not_run is None
    subject = f"{__file__}:build"
    assert run(["export", subject, "-o", str(tmp_path / "a.mlpackage")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "NOT RUN, and its outputs not compared: Core ML runs on Apple's systems alone" in said
    assert "input [1, 3, 8, 8] → output [1, 4, 8, 8]; 1 convolutions and 0 linear layers" in said
    assert run(["export", subject, "-o", str(tmp_path / "b.mlpackage"), "--json"]) == 0
    told: Mapping[str, object] = json.loads(capsys.readouterr().out)
    assert told["error"] is None
    assert told["not_run"] == done.not_run


@pytest.mark.parametrize(
    "content",
    [
        CoreMlContent({"input": (1, 3, 8, 9)}, HELD.outputs, HELD.operations, 216),
        CoreMlContent(HELD.inputs, {"output": (1, 4, 64)}, HELD.operations, 216),
        CoreMlContent(HELD.inputs, HELD.outputs, {"conv": 2}, 216),
    ],
)
def test_a_package_that_holds_something_else_is_not_written(
    content: CoreMlContent, tmp_path: Path, written: dict[str, object]
) -> None:
    """Another input, output or number of layers ends it before anything appears; what is right is written."""
    written["content"] = content
    with pytest.raises(ModelRunError, match="the Core ML package holds something else"):
        convsurgeon.export(build(), X, tmp_path / "net.mlpackage")
    assert list(tmp_path.iterdir()) == []
    written["content"] = HELD
    assert convsurgeon.export(build(), X, tmp_path / "net.mlpackage").path.is_dir()


def test_a_package_is_in_one_of_core_ml_s_precisions(tmp_path: Path, written: dict[str, object]) -> None:
    """bfloat16 is none; float32 is, also where nothing is lowered and so nothing could be timed."""
    with pytest.raises(UsageError, match="a coreml file can't be in 'bfloat16'; expected float16 or float32"):
        convsurgeon.export(build(), X, tmp_path / "net.mlpackage", precision="bfloat16")
    convsurgeon.export(build(), X, tmp_path / "net.mlpackage", precision="float32", lowered=False)
    assert written["precision"] == "float32"


@pytest.mark.parametrize("there", ["Manifest.json", "mine.txt"])
def test_force_replaces_packages_and_no_other_folder(there: str, tmp_path: Path) -> None:
    """A folder with a manifest is a package; another one with that name, and any without force, stays."""
    path = tmp_path / "net.mlpackage"
    path.mkdir()
    (path / there).write_text("old")
    with pytest.raises(OutputExists, match="exists already"):
        convsurgeon.export(build(), X, path)
    if there == "Manifest.json":
        convsurgeon.export(build(), X, path, force=True)
        assert (path / there).read_text() == "{}"
    else:
        with pytest.raises(OutputExists, match=r"holds no Manifest\.json, so --force does not replace it"):
            convsurgeon.export(build(), X, path, force=True)
        assert (path / there).read_text() == "old"


def test_int8_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """What can't be run can't be compared, so that int8 is left to Apple's machines; float is written."""
    with pytest.raises(UsageError, match=r"no int8 file of the format 'coreml' .*quantise it there with coremltools"):
        convsurgeon.export(build(), X, tmp_path / "net.mlpackage", int8=convsurgeon.Int8([X]))
    assert convsurgeon.export(build(), X, tmp_path / "net.mlpackage").int8 is None


@pytest.mark.parametrize("free", [None, "none"])
def test_a_package_leaves_no_axis_free(free: str | None, tmp_path: Path) -> None:
    """An axis that is asked for by name is refused; without a word, or with "none", a package is written."""
    with pytest.raises(UsageError, match="batch, height can't be free: a coreml file is for the example's sizes"):
        convsurgeon.export(build(), X, tmp_path / "net.mlpackage", free="batch,height")
    assert convsurgeon.export(build(), X, tmp_path / "net.mlpackage", free=free).free == ()
