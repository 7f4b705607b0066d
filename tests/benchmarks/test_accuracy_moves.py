"""The accuracy benchmark's rows that narrow."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.accuracy.run import MOVES, Sample, fitting_of, operate, plan_for, wanted
from benchmarks.accuracy.tables import METHODS, Result, table
from benchmarks.conversions import plan_key

RESULT = Result("vgg", 0, "auto-moves", 0.5, 0.5, 92.0, 91.0, 98.0, 0.5, 60.0, 1)


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 3), nn.Flatten()
    ).eval()


def test_rows_that_narrow_plan_with_their_moves() -> None:
    """Narrowing alone swaps nothing, and each plan has a key of its own."""
    random = torch.Generator().manual_seed(0)
    sample = Sample(torch.randn(128, 1, 8, 8, generator=random), torch.zeros(128, dtype=torch.long))
    net = _net()
    plan = plan_for("auto-narrow", net, 0.5, sample, 0)
    assert plan.narrowed
    assert not plan.replaced
    assert plan.after.macs <= 0.5 * plan.before.macs
    assert operate("auto-narrow", net, plan, sample, 0)(sample.images).shape == net(sample.images).shape
    whole = plan.model_copy(update={"streams": ()})
    assert fitting_of("auto-narrow") == fitting_of("auto-moves") != fitting_of("compconv-refined")
    assert plan_key(plan) != plan_key(whole)


def test_the_table_shows_them(tmp_path: Path) -> None:
    """Beside the others, at each share that has results."""
    assert set(MOVES) <= set(METHODS)
    assert ("vgg", 0, "auto-narrow", 0.25) in set(wanted("vgg", 0, "auto-narrow"))
    (tmp_path / "results").mkdir()
    for method in MOVES:
        text = json.dumps(asdict(replace(RESULT, method=method)))
        (tmp_path / "results" / f"vgg-seed0-{method}-0.50.json").write_text(text)
    shown = table(tmp_path)
    for method in MOVES:
        assert f"| {METHODS[method]} | 0 | 91.00 | 1.00 | 98.00 | 0.50 | 60 |" in shown
