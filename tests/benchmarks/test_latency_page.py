"""The published table of latencies: rows of many machines in one file, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.latency import run
from benchmarks.latency.means import means
from benchmarks.latency.networks import METHODS
from benchmarks.latency.rows import Cell, Row, merged
from benchmarks.latency.table import draw, page, tables
from benchmarks.rows import read_rows, write_rows

DOCS = Path(__file__).parents[2] / "docs"
ROW = Row(
    net="resnet18",
    method="dgconv",
    share=0.5,
    runtime="eager",
    precision="float32",
    batch=8,
    lowered=True,
    macs_kept=0.5,
    rival_macs_kept=0.49,
    original_ms=(100.0, 98.0, 103.0),
    converted_ms=(60.0, 59.0, 62.5),
    rival_ms=70.0,
    threads=2,
    device="a processor",
    torch="2.9.0",
)


def replace(row: Row, **change: object) -> Row:
    """The row with other values."""
    return row.model_copy(update=change)


def test_the_page_shows_the_rows_that_are_kept() -> None:
    """docs/latency.md is what docs/latency.jsonl gives: no figure on it was typed."""
    assert (DOCS / "latency.md").read_text(encoding="utf-8") == page(
        read_rows(Row, DOCS / "latency.jsonl"), "latency.svg"
    )


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    """A row without a rival too."""
    rows = merged([], [ROW, replace(ROW, batch=1, rival_ms=None, rival_macs_kept=None, note="busy")])
    write_rows(rows, tmp_path / "rows.jsonl")
    assert read_rows(Row, tmp_path / "rows.jsonl") == rows
    assert read_rows(Row, tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 1),
        ({"note": "busy", "torch": "2.10.0"}, 1),
        ({"device": "another processor"}, 2),
        ({"threads": 1}, 2),
        ({"precision": "bfloat16"}, 2),
        ({"lowered": False}, 2),
        ({"batch": 1}, 2),
    ],
)
def test_a_newer_row_replaces_the_same_machines_older_one(change: dict[str, object], count: int) -> None:
    """Any other row stays beside it."""
    newer = replace(ROW, converted_ms=(50.0, 49.0, 51.0), **change)
    rows = merged([ROW], [newer])
    assert len(rows) == count
    assert newer in rows


def test_a_row_in_its_table() -> None:
    """Ratio, realised share and rival stand beside what they are made of; each machine has a table."""
    slower = replace(ROW, device="another processor", converted_ms=(110.0, 108.0, 112.0), rival_ms=None)
    text = tables([ROW, slower])
    head = "## resnet18, [N, 3, 224, 224], on {}, 2 threads, torch 2.9.0"
    assert text.index(head.format("a processor")) < text.index(head.format("another processor"))
    line = "| DGConv, hardened | 50.0% | eager float32 lowered | 8 | 100.0 (98.0–103.0) |"
    assert f"{line} 60.0 (59.0–62.5) | **0.60** | 80% | 49.0% | 0.70 |" in text
    assert f"{line} 110.0 (108.0–112.0) | 1.10 (slower) | -20% | – | – |" in text


def test_means_are_geometric_and_beside_the_rivals() -> None:
    """√(0.6 · 0.15) = 0.3 and √(0.7 · 0.07) ≈ 0.22; rows without a rival, of a GPU or not lowered are left out."""
    other = replace(ROW, batch=1, converted_ms=(15.0, 14.0, 16.0), rival_ms=7.0)
    out = [replace(ROW, rival_ms=None), replace(ROW, on="cuda"), replace(ROW, lowered=False)]
    assert "| DGConv, hardened | 50% | 0.30 (0.22), 2 |" in means([ROW, other, *out])
    assert "| DGConv, hardened | 50% | **0.60** (0.70), 1 |" in means([ROW])
    assert means(out) == ""


@pytest.mark.parametrize(("device", "again", "timed"), [("here", False, 0), ("here", True, 1), ("there", False, 1)])
def test_only_what_this_machine_has_not_timed_is_timed(
    device: str, again: bool, timed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is asked for again."""
    calls: list[Cell] = []

    def fresh(cell: Cell) -> list[Row]:
        calls.append(cell)
        return [replace(ROW, device="here", share=cell.share)]

    monkeypatch.setattr(run, "run_cell", fresh)
    monkeypatch.setattr(run, "draw", lambda rows, path: None)
    monkeypatch.setattr(run, "device_name", lambda device: "here")
    write_rows([replace(ROW, device=device)], tmp_path / "rows.jsonl")
    names = {"rows": "rows.jsonl", "page": "page.md", "plot": "plot.svg"}
    files = [f"--{option}={tmp_path / name}" for option, name in names.items()]
    which = ["--net=resnet18", "--method=dgconv", "--share=0.5", "--runtime=eager", "--batch=8", "--threads=2"]
    result = CliRunner().invoke(run.main, [*files, *which, *(["--again"] if again else [])])
    assert result.exit_code == 0, result.output
    assert len(calls) == timed
    assert {row.device for row in read_rows(Row, tmp_path / "rows.jsonl")} == {device, "here"}


def test_plot_has_every_method(tmp_path: Path) -> None:
    """Rows of every method are drawn, with the method's name in the legend."""
    pytest.importorskip("matplotlib")
    draw([replace(ROW, method=method) for method in METHODS], tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {title} -->" in text for title in METHODS.values())
