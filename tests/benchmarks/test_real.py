"""The benchmark on networks that others trained: its rows are made once, and the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from benchmarks.real import __main__ as real
from benchmarks.real import times
from benchmarks.real.methods import METHODS, Conversion, Rival
from benchmarks.real.page import filled, table
from benchmarks.real.row import Row
from benchmarks.real.subject import Case, Subject
from benchmarks.real.subjects import SUBJECTS
from benchmarks.rivals import spatial_svd
from benchmarks.rows import read_rows

DOCS = Path(__file__).parents[2] / "docs"
ROWS = Path(real.__file__).parent / "rows.jsonl"


def _case() -> Case:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 3)).eval()
    batches = torch.randn(6, 8, 3, 12, 12, generator=torch.Generator().manual_seed(1)).unbind()

    def measures(outputs: Sequence[Tensor]) -> dict[str, float]:
        return {"mean": float(torch.cat(list(outputs)).mean()), "batches": len(outputs)}

    return Case(net, batches[0], batches[:4], batches[4:], measures)


SUBJECT = Subject("A net", ("torch",), {"mean": "mean output"}, _case)


def _raise(_case: Case, _share: float) -> nn.Module:
    raise IndexError("not ours")


FEW = {
    "auto": Conversion("auto"),
    "spatial": Conversion("auto, again"),
    "spatial-svd": Rival("SVD", lambda case, share: spatial_svd(case.model, case.example_inputs, share)),
    "torch-pruning": Rival("broken", _raise),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The command on one small subject, two methods and a rival; gives its rows."""
    for module in (real, times):
        monkeypatch.setattr(module, "SUBJECTS", {"net": SUBJECT})
    monkeypatch.setattr(real, "METHODS", FEW)
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "damage"))
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n<!-- rows: net -->\n<!-- end -->\nAfter.\n", encoding="utf-8")
    files = {"--rows": "rows.jsonl", "--page": "page.md", "--cache": "cache"}

    def call(*arguments: str) -> list[Row]:
        options = [f"{option}={tmp_path / name}" for option, name in files.items()]
        result = CliRunner().invoke(real.main, [*options, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return read_rows(Row, tmp_path / "rows.jsonl")

    return call


def test_rows_are_made_once_and_shown(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A plan made before gives its figures again, a rival that fails is a row, nothing is made twice, all is shown."""
    rows = run()
    assert len(rows) == 1 + len(FEW) * len(SUBJECT.shares)
    found = {(row.method, row.target): row for row in rows}
    assert found["original", 1.0].output_error == 0
    for share in SUBJECT.shares:
        auto, again, svd, broken = (found[name, share] for name in FEW)
        assert auto.failed or auto.macs <= share * found["original", 1.0].macs
        assert again.plan == auto.plan
        assert again.measures == auto.measures
        assert broken.failed == "IndexError: not ours"
        assert svd.failed or svd.macs <= share * found["original", 1.0].macs
    assert found["auto", 0.5].measures["batches"] == 2
    assert "can't be reached" in found["auto", 0.125].failed
    monkeypatch.setattr(real, "Bench", None)
    assert run() == rows
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("# Title\n")
    assert page.endswith("<!-- end -->\nAfter.\n")
    assert "; 0.125 by auto, " in page


def test_times_are_added_to_the_rows_of_networks_that_are_kept(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The rivals' rows, whose networks are not kept, stay as they are."""
    monkeypatch.setattr(times, "RUNTIMES", ("eager",))
    before = run("--method=spatial-svd")
    assert run("--times") == before
    run("--method=auto")
    timed = {row.method for row in run("--times") if row.times}
    assert timed == {"auto"}


def test_a_row_that_failed_says_so() -> None:
    """Below the table, without figures; a method that was not run is nowhere."""
    blank = Row(
        subject="net", method="original", target=1.0, source="torch 2", macs=100, params=10, measures={"mean": 1}
    )
    failed = blank.model_copy(update={"method": "torch-pruning", "target": 0.25, "failed": "no", "measures": {}})
    text = table(SUBJECT, [blank, failed])
    assert text.endswith(f"|\n\nNot reached: 0.25 by {METHODS['torch-pruning'].title}.\n")
    assert METHODS["igc"].title not in text


def test_the_page_shows_the_rows_that_are_kept() -> None:
    """docs/real.md has a table for each subject, and each is what rows.jsonl gives: none of its figures was typed."""
    page = (DOCS / "real.md").read_text(encoding="utf-8")
    assert all(f"<!-- rows: {name} -->" in page for name in SUBJECTS)
    assert filled(page, read_rows(Row, ROWS), SUBJECTS) == page
