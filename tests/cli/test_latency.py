"""Latency targets on the command line: the whole report, its JSON, and the refusals; a table is the clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convsurgeon import Plan, Report, load, read_plan
from convsurgeon.cli.app import run
from tests.conversion.time_table import TableKeeper, by_macs

FACTORY = """\
import torch
from torch import nn


def build():
    pad = {"kernel_size": 3, "padding": 1}
    return nn.Sequential(nn.Conv2d(3, 64, **pad), nn.ReLU(), nn.Conv2d(64, 64, **pad), nn.Conv2d(64, 128, **pad))


build.example_inputs = torch.zeros(1, 3, 12, 12)
"""
TABLE = "convsurgeon.conversion.planner.timekeeper"


@pytest.fixture(autouse=True)
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableKeeper:
    """A folder with a factory, and a table for a clock."""
    (tmp_path / "mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    table = TableKeeper()
    monkeypatch.setattr(TABLE, lambda runtime, precision: table)
    monkeypatch.setattr("convsurgeon.conversion.in_time.corrected_plan.busy", lambda: None)
    return table


def _convert(*arguments: str) -> int:
    return run(["convert", "mine.py:build", "--method", "compconv", "--weights", "none", *arguments])


def test_a_latency_target_is_reported_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Each row's time before and after, what was predicted and what was measured, where, and the target."""
    assert _convert("--target", "latency=70%", "--target", "macs=60%", "--dry-run", "--layers") == 0
    out, err = capsys.readouterr()
    expected = (Path(__file__).parent / "expected" / "latency_dry_run.txt").read_text(encoding="utf-8")
    assert "".join(f"{line.rstrip()}\n" for line in out.splitlines()) == expected
    assert err == ""


def test_a_saved_conversion_keeps_its_latency(capsys: pytest.CaptureFixture[str]) -> None:
    """Plan and report hold predicted and measured numbers; Markdown shows them; the folder loads as any other."""
    assert _convert("--target", "latency=70%", "-o", "out", "--json") == 0
    report = Report.model_validate_json(capsys.readouterr().out)
    plan = read_plan(Path("out/plan.json").read_text(encoding="utf-8"))
    assert report.plan.latency == plan.latency
    assert report.plan.latency is not None
    assert report.plan.latency.ratio is not None
    assert report.plan.latency.ratio <= 0.70
    assert run(["report", "out", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert "- target latency=70%: " in page
    assert "| error left | latency |" in page
    assert load("out", trust_factory=True)


def test_a_plan_file_carries_latency_to_apply(capsys: pytest.CaptureFixture[str]) -> None:
    """plan times, apply carries out without a clock."""
    assert run(["plan", "mine.py:build", "--method", "compconv", "--target", "latency=70%", "-o", "p.json"]) == 0
    capsys.readouterr()
    assert run(["apply", "p.json", "-o", "out", "--weights", "none", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["plan"]["latency"] == json.loads(Path("p.json").read_text())["latency"]
    assert Plan.model_validate_json(Path("p.json").read_text()).latency


def test_slow_swaps_are_left_out_or_taken(keeper: TableKeeper, capsys: pytest.CaptureFixture[str]) -> None:
    """--time-layers leaves out what does not pay, with the reason in its row; --allow-slower takes it."""
    keeper.take = lambda shape, spec: by_macs(shape, spec) * (4 if spec and shape.out_channels == 128 else 1)
    assert _convert("--target", "macs=85%", "--time-layers", "--dry-run", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["plan"]["layers"]}
    assert rows["2"]["action"] == "replaced"
    assert rows["3"]["action"] != "replaced"
    assert _convert("--target", "macs=50%", "--time-layers", "--dry-run") == 2
    assert "swaps that do not pay in time (--allow-slower)" in capsys.readouterr().err
    assert _convert("--target", "macs=50%", "--time-layers", "--allow-slower", "--dry-run") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "latency=1%"], "target latency=1% can't be reached by 2 eligible of 3 convolutions. Reachable"),
        (["--target", "latency=60"], "target 'latency=60' can't be read"),
        (["--target", "latency=70%", "--runtime", "compile"], "layers can't be timed with 'compile'"),
        (["--target", "latency=70%", "--runtime", "tensorrt"], "unknown runtime 'tensorrt'"),
        (["--target", "latency=70%", "--latency-batch", "0"], "--latency-batch"),
    ],
)
def test_mistakes_are_exit_code_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one message on stderr; the same command with a reachable target is fine."""
    assert _convert(*arguments, "--dry-run") == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert _convert("--target", "latency=70%", "--runtime", "eager", "--latency-batch", "2", "--dry-run") == 0


def test_a_runtime_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Timing layers in a runtime that is not here ends with the extra that brings it."""
    monkeypatch.setattr("convsurgeon.runtimes.openvino_runtime.openvino_missing", lambda: "openvino is not installed.")
    assert _convert("--target", "latency=70%", "--runtime", "openvino", "--dry-run") == 2
    assert "the runtime 'openvino' can't be used: openvino is not installed." in capsys.readouterr().err
    assert _convert("--target", "latency=70%", "--runtime", "eager", "--dry-run") == 0


def test_a_recipe_says_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    """time_layers, allow_slower, runtime, precision and latency_batch stand in a recipe as on the command line."""
    Path("r.toml").write_text(
        'model = "mine.py:build"\nmethod = "compconv"\ntarget = "latency=70%"\nweights = "none"\n'
        'runtime = "eager"\nprecision = "float32"\nlatency_batch = 4\nallow_slower = true\ntime_layers = true\n'
    )
    assert run(["convert", "--recipe", "r.toml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["latency"]["batch"] == 4
