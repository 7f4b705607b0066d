"""The benchmark of int8 beside float32: files are judged and timed as they are, and every row is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from benchmarks.int8 import planned, tasks, times, zoo
from benchmarks.int8.__main__ import ROWS
from benchmarks.int8.files import PRECISIONS, Writer
from benchmarks.int8.page import pictures, tables
from benchmarks.int8.row import ORIGINAL, Row, Time, Which, merged
from benchmarks.int8.subjects import Network, Subject
from benchmarks.int8.times import timed
from benchmarks.real.row import Row as RealRow
from benchmarks.real.subject import Case
from benchmarks.rows import read_rows
from convsurgeon.deployment.exporting.formats import format_for
from convsurgeon.runtimes.timer import QUICK

DOCS = Path(__file__).parents[2] / "docs"


def _which(method: str = ORIGINAL, target: int = 100) -> Which:
    return Which(method=method, target=target, steps=0)


def _row(precision: str, top1: float | None = 92.0, which: Which | None = None, percent: float | None = None) -> Row:
    return Row(
        subject="vgg",
        which=which or _which(),
        macs=100.0,
        format="onnx",
        precision=precision,
        shape=(1, 1, 28, 28),
        bytes=4500,
        images=10,
        top1=top1,
        agreement=99.5,
        time=None if percent is None else Time(percent=percent, machine="here"),
    )


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


@pytest.fixture
def subject() -> Subject:
    """An original alone, labelled as it would."""
    images = torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    labels = _net()(images[16:]).argmax(1)
    return Subject("net", [Network(_which(), _net)], images[:16].split(8), [images[16:]], labels)


@pytest.mark.skipif(format_for(Path("net.onnx")).int8_missing() is not None, reason="needs the extra onnx")
def test_files_are_judged_and_timed(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files of a network are judged, and timed relative to the original's float32 file."""
    writer = Writer.of(subject, tmp_path)
    (rows,) = writer.rows(subject.networks[0], ["onnx"])
    assert tuple(row.precision for row in rows) == PRECISIONS
    assert (rows[0].top1, rows[0].agreement, rows[0].macs) == (100.0, 100.0, 100.0)
    monkeypatch.setattr(times, "BENCH", QUICK)
    found = list(timed(rows, tmp_path))
    assert found[0].time is not None
    assert found[0].time.percent == 100.0
    assert all(row.time is not None and row.time.percent > 0 for row in found)


@pytest.mark.skipif(format_for(Path("net.onnx")).int8_missing() is not None, reason="needs the extra onnx")
def test_files_are_judged_by_their_task(tmp_path: Path) -> None:
    """Each network's own measures, of its int8 file too; times in percent of the original's in float32."""
    images = torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    case = Case(
        _net(), images[:1], images[:16].split(8), images[16:].split(1), lambda outputs: {"seen": float(len(outputs))}
    )
    (network,) = tasks.networks("net", case, [RealRow(subject="net", method="auto", target=0.5, source="")], tmp_path)
    row = tasks.judged("net", case, network, "onnx", tmp_path)
    assert row.in_int8 == row.in_float == {"seen": 8.0}
    assert min(*row.bytes, *row.ms) > 0
    half = row.model_copy(update={"method": "auto", "target": 0.5, "ms": (row.ms[0] / 2, row.ms[0] / 4)})
    shown = tasks.table([half, row], {"seen": "pages"}).splitlines()
    assert shown[2].startswith("| original | ONNX Runtime | ")
    assert shown[3].startswith("| auto 50 % | ONNX Runtime | ")
    assert shown[3].endswith("| 50 | 25 | 8.000 | 8.000 |")


def test_merging() -> None:
    """A row replaces that of its network, format and precision alone."""
    old, other = _row("float32"), _row("int8")
    newer = _row("float32", top1=91.0)
    assert merged([old, other], [newer]) == [newer, other]


def test_page(tmp_path: Path) -> None:
    """A line shows both precisions; a picture leaves out what was not timed and what lost everything."""
    rows = [_row("float32", percent=100.0), _row("int8", 91.9, percent=40.0)]
    assert "| original | 100 | ONNX Runtime | 4 | 4 | 100 | 40 | 92.00 | 91.90 | 99.50 | 99.50 |" in tables(rows)["vgg"]
    lost = [_row(precision, 10.0, _which("torch-pruning", 50), 30.0) for precision in PRECISIONS]
    (path,) = pictures([*rows, *lost], tmp_path)
    assert "Torch-Pruning" not in path.read_text(encoding="utf-8")
    assert pictures([_row("float32")], tmp_path) == []


def test_page_is_made_from_the_rows() -> None:
    """The docs hold the tables that the rows make, each in one place."""
    text, made = (DOCS / "int8.md").read_text(encoding="utf-8"), tables(read_rows(Row, ROWS))
    assert made
    assert all(text.count(f"<!-- rows: {name} -->\n\n{table}\n<!-- end -->") == 1 for name, table in made.items())


def test_slice_is_made_from_its_rows() -> None:
    """The lab's page holds the table that the slice's rows make."""
    text, made = (DOCS / "lab" / "int8.md").read_text(encoding="utf-8"), zoo.table(read_rows(zoo.Row, zoo.ROWS))
    assert f"<!-- rows: zoo -->\n\n{made}\n<!-- end -->" in text


def test_slice_says_what_failed() -> None:
    """A network whose conversion failed shows the reason in the place of its figures, and its original's figures."""
    original = zoo.Quantised(top1=80.0, top1_in_int8=79.5, agreement=98.0, output_error=0.2)
    row = zoo.Row(name="net", original=original, failed="TargetError: no")
    assert zoo.table([row]).splitlines()[-1] == "| net | 80.0 → 79.5 | 98.0 | 0.2 | TargetError: no | – | – | – |"


def test_plans_of_two_precisions_side_by_side() -> None:
    """Layers that a plan changes are shown with what each plan makes of them, the others are not."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 64, 3), nn.Conv2d(64, 64, 3)).eval()
    example = torch.rand(1, 1, 12, 12)
    plans = {name: convsurgeon.plan(net, example, target=f"macs={name}") for name in ("90%", "40%")}
    head, _, *lines, kept = planned.table(plans).splitlines()
    assert head == "| layer | planned in 90% | planned in 40% |"
    assert not any(line.startswith("| 0 |") for line in lines)
    assert any(line.startswith("| 2 |") for line in lines)
    assert kept.startswith("| MACs kept | ")
