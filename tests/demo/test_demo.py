"""``convsurgeon demo``: the whole table, the JSON behind it, and what the numbers must obey."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from convsurgeon.cli.app import run
from convsurgeon.demo.record import DemoReport, DemoRow
from convsurgeon.demo.run import LEARNED, METHODS, DemoSettings, demonstrate
from convsurgeon.demo.terminal import render
from convsurgeon.planning.plan import CostRecord
from tests.families.table import ROWS

EXPECTED = Path(__file__).parents[1] / "cli" / "expected" / "demo.txt"
# Two methods that take no time: one that is fitted in closed form, one that learns.
QUICK = DemoSettings(
    methods=("dgconv", LEARNED), calibration_images=64, steps=1, learning_steps=4, batch=32, timed_s=0.001
)


def _masked(text: str) -> str:
    """Numbers as N, and padding, which follows their width, as one blank or line."""
    text = re.sub(r"\d+([.,]\d+)*", "N", text)
    return "".join(f"{re.sub(r'[ ─━]+', ' ', line).strip()}\n" for line in text.splitlines())


Moves = list[tuple[str, int, int, str]]


@pytest.fixture(scope="module")
def quick() -> tuple[DemoReport, Moves]:
    """One quick run, and what it told its progress bar."""
    moves: Moves = []
    report = demonstrate(QUICK, progress=lambda *move: moves.append(move))
    return report.model_copy(update={"place": "here"}), moves


@pytest.fixture
def _already_run(quick: tuple[DemoReport, Moves], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsurgeon.demo.run.demonstrate", lambda progress: quick[0])


@pytest.mark.usefixtures("_already_run")
def test_the_command_prints_one_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy at every stage, MACs, params and latency of each method, and how all of it was measured; no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert _masked(out) == EXPECTED.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_already_run")
def test_json_is_the_report_and_nothing_else(
    capsys: pytest.CaptureFixture[str], quick: tuple[DemoReport, Moves]
) -> None:
    """--json prints the record, which reads back as it was."""
    assert run(["demo", "--json"]) == 0
    assert DemoReport.model_validate(json.loads(capsys.readouterr().out)) == quick[0]


def test_the_same_seed_gives_the_same_numbers(quick: tuple[DemoReport, Moves]) -> None:
    """Accuracies and costs come again; only times differ."""
    again = demonstrate(dataclasses.replace(QUICK, methods=(LEARNED,))).rows[0]
    assert again.model_copy(update={"latency_ms": 0, "latency": 0}) == quick[0].rows[1].model_copy(
        update={"latency_ms": 0, "latency": 0}
    )


def test_stages_tell_the_story(quick: tuple[DemoReport, Moves]) -> None:
    """Fresh weights know nothing, the closed form brings most of it back, open gates start at the original."""
    report, moves = quick
    grouped, learned = report.rows
    assert report.accuracy > 0.98
    assert grouped.surgery < 0.3 < 0.8 < (grouped.calibration or 0)
    assert learned.surgery == report.accuracy
    assert learned.calibration is None
    assert all(row.after.macs <= report.before.macs // 2 for row in report.rows)
    assert [move[1] for move in moves] == sorted(move[1] for move in moves)
    assert moves[-1][1] == moves[-1][2]


def test_every_method_has_a_row() -> None:
    """The default run covers every family, auto and learned groups; a row is shown as it stands in the record."""
    assert DemoSettings().methods == METHODS == (*ROWS, "auto, timed", "dgconv, learned groups")
    row = DemoRow(
        method="igc",
        replaced=6,
        surgery=0.1,
        calibration=0.95,
        recovery=0.98,
        after=CostRecord(macs=50, params=30),
        latency_ms=6.0,
        latency=0.75,
    )
    report = DemoReport(
        target="macs=50%",
        convolutions=8,
        accuracy=0.99,
        before=CostRecord(macs=100, params=100),
        latency_ms=8.0,
        test_images=360,
        train_images=1437,
        calibration_images=512,
        recovery_steps=44,
        learning_steps=110,
        batch=64,
        place="here",
        seconds=1.0,
        rows=(row,),
    )
    console = Console(width=120)
    with console.capture() as captured:
        console.print(render(report))
    cells = "│ igc    │   99.0 % │  10.0 % │      95.0 % │   98.0 % │ 50.0 % │ 30.0 % │  75.0 % │"
    assert cells in captured.get()
