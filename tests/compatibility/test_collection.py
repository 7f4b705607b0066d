"""Processes, resuming, the choice of networks, and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from compatibility.__main__ import main
from compatibility.examine import CHECKS, Settings
from compatibility.matrix import Matrix
from compatibility.page import page, summary
from compatibility.pool import examine_all
from compatibility.records import Cell, Check, NetworkRow
from compatibility.subjects import Subject, sides_from
from compatibility.tables import tables
from compatibility.timm_families import Scanned, chosen
from convsurgeon import __version__
from tests.compatibility.networks import endless, subject, wide

DOCS = Path(__file__).parents[2] / "docs"
VERSIONS = {"convsurgeon": __version__}
GOOD = NetworkRow(
    library="torchvision",
    name="resnet18",
    versions=VERSIONS,
    checks={name: Check(state="left out", why="nothing to convert") for name in CHECKS},
    cells=(
        Cell(method="auto", outcome="converted", kept=0.4999),
        Cell(method="igc", outcome="refused", kept=0.64, reachable=0.634),
        Cell(method="dgconv", outcome="nothing"),
    ),
)
BAD = NetworkRow(
    library="torchvision",
    name="vgg11",
    versions=VERSIONS,
    cells=(Cell(method="auto", outcome="converted", checks={"reload": Check(state="failed", why="KeyError: 'a|b'")}),),
)


def test_each_network_has_its_own_process() -> None:
    """A network over its time is a row that says at which stage, and the others are examined."""
    rows: list[NetworkRow] = []
    settings = Settings(methods=("compconv",), seconds=20)
    examine_all({subject(wide): settings, subject(endless): Settings(seconds=1)}, 1, rows.append)
    assert [row.green for row in rows] == [True, False]
    assert rows[1].failures() == ["build: over 1 s of CPU time"]


def test_what_is_there_is_not_examined_again(tmp_path: Path) -> None:
    """A network is open until all that is asked is known of this version; the page is made from what is known."""
    output = tmp_path / "matrix.md"
    Matrix(tmp_path / "matrix.jsonl").add(GOOD)
    arguments = ["--library", "torchvision", "--only", "resnet18", "--cache", str(tmp_path), "--output", str(output)]
    known = [option for cell in GOOD.cells for option in ("--method", cell.method)]
    result = CliRunner().invoke(main, [*arguments, *known])
    assert result.exit_code == 0, result.output
    assert "| torchvision | 1 | 1 | 1 | 1 | 1 | 0 |" in result.output
    assert output.read_text() == page([GOOD])
    assert Matrix(tmp_path / "matrix.jsonl").rows == [GOOD]


def test_what_is_not_known_is_open(tmp_path: Path) -> None:
    """Another method, a check of the network, another version, a failure that is to be done again; and nothing else."""
    matrix = Matrix(tmp_path / "matrix.jsonl")
    known = Settings(methods=("auto", "igc"))
    network = replace(subject(wide), name="resnet18")
    assert matrix.lacks(network, known, redo_failed=False) == known
    matrix.add(GOOD)
    assert matrix.lacks(network, known, redo_failed=False) is None
    assert matrix.lacks(network, known, redo_failed=True) is None
    wider = replace(known, methods=("auto", "spatial"))
    assert matrix.lacks(network, wider, redo_failed=False) == replace(known, methods=("spatial",), checks=())
    matrix.add(GOOD.model_copy(update={"checks": {}}))
    assert matrix.lacks(network, known, redo_failed=False) == replace(known, methods=())
    assert matrix.lacks(network, replace(known, checks=()), redo_failed=False) is None
    matrix.add(GOOD.model_copy(update={"versions": {"convsurgeon": "0.0"}}))
    assert matrix.lacks(network, known, redo_failed=False) == known
    other = replace(network, name=BAD.name)
    matrix.add(BAD)
    assert matrix.lacks(other, replace(known, methods=("auto",), checks=()), redo_failed=False) is None
    assert matrix.lacks(other, replace(known, methods=("auto",), checks=()), redo_failed=True)


def test_a_check_without_a_method_stands_beside_what_was_found(tmp_path: Path) -> None:
    """Only the check is done; where its process ends early, the methods' findings stay and the check failed."""
    (row,) = _rows_of(subject(wide), Settings(methods=()))
    assert not row.cells
    assert row.checks["calibrated"].state == "ok"
    matrix = Matrix(tmp_path / "matrix.jsonl")
    matrix.add(GOOD)
    stopped = GOOD.model_copy(update={"versions": {}, "cells": (), "checks": {"calibrated": Check(state="failed")}})
    matrix.add(stopped)
    (found,) = matrix.rows
    assert found.cells == GOOD.cells
    assert (found.macs, found.green) == (GOOD.macs, False)
    assert matrix.lacks(replace(subject(wide), name=GOOD.name), Settings(), redo_failed=False) is None


def _rows_of(network: Subject, settings: Settings) -> list[NetworkRow]:
    rows: list[NetworkRow] = []
    examine_all({network: settings}, 1, rows.append)
    return rows


def test_a_method_examined_later_stands_beside_the_others(tmp_path: Path) -> None:
    """What was not asked for again is kept, what was is replaced, and the file says so after reading, too."""
    matrix = Matrix(tmp_path / "matrix.jsonl")
    matrix.add(GOOD.model_copy(update={"seconds": 3.0}))
    later = GOOD.model_copy(update={"cells": (Cell(method="auto", outcome="converted", kept=0.25),), "seconds": 2.0})
    matrix.add(later)
    (row,) = Matrix(tmp_path / "matrix.jsonl").rows
    assert [(cell.method, cell.kept) for cell in row.cells] == [("igc", 0.64), ("dgconv", None), ("auto", 0.25)]
    assert row.seconds == 5.0
    assert row.checks == GOOD.checks


def test_the_smallest_of_each_family_is_chosen() -> None:
    """Of networks with a wide convolution, the one with the fewest parameters per file and first word."""
    rows = (
        Scanned("b_large", ("file", "b"), params=9, wide=3),
        Scanned("b_small", ("file", "b"), params=4, wide=1),
        Scanned("b_tiny", ("file", "b"), params=1, wide=0),
        Scanned("a_only", ("file", "a"), params=7, wide=1),
        Scanned("c_lost", ("file", "c"), params=2, wide=1, problem="ValueError"),
    )
    assert chosen(rows) == ("a_only", "b_small")


def test_sides_go_down_from_the_native_one() -> None:
    """Reduced sides are multiples of 32 and end at the least one."""
    assert sides_from(224) == (224, 160, 96, 64)
    assert sides_from(64) == (64,)


def test_the_page_shows_failures_first() -> None:
    """Each with method, stage and reason; what checks left out comes after."""
    text = page([GOOD, BAD])
    failure = "- `vgg11` (torchvision): auto, reload: KeyError: 'a\\|b'"
    assert text.index(failure) < text.index("## Checks")


def test_a_networks_own_line() -> None:
    """The share that is kept, the least that can be reached, nothing to convert, or the checks that failed."""
    text = tables([GOOD, BAD])
    assert "| 50.0 % | ≥ 63 % | – |  | – |" in text
    assert "| **failed**: reload |" in text


def test_the_published_page_counts_the_published_rows() -> None:
    """docs/matrix.md and docs/matrix.jsonl come from the same run: networks and outcomes agree, library by library."""
    rows = Matrix(DOCS / "matrix.jsonl").rows
    text = (DOCS / "matrix.md").read_text(encoding="utf-8")
    for library in {row.library for row in rows}:
        own = [row for row in rows if row.library == library]
        outcomes = [cell.outcome for row in own for cell in row.cells]
        counts = " | ".join(str(outcomes.count(kind)) for kind in ("converted", "refused", "nothing"))
        assert f"| {library} | {len(own)} | {len(own)} | {counts} | 0 |" in text


@pytest.mark.parametrize(("row", "counts"), [(GOOD, "1 | 1 | 1 | 1 | 1 | 0"), (BAD, "1 | 0 | 0 | 0 | 0 | 1")])
def test_the_summary_counts_what_holds(row: NetworkRow, counts: str) -> None:
    """Networks and handled ones, then conversions by outcome, failures apart."""
    assert summary([row]).splitlines()[-1] == f"| torchvision | {counts} |"
