"""Where the seconds of one conversion go.

    python -m benchmarks.startup resnet50 --method compconv128

First the stages inside one process, then whole processes in turn: ``convsurgeon convert`` against a process that
only imports torch and torchvision. The difference of their medians is what a person waits for.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table


def _timed(rows: list[tuple[str, float]], name: str, call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    rows.append((name, time.perf_counter() - start))
    return result


def _stages(model_name: str, method: str) -> list[tuple[str, float]]:
    rows: list[tuple[str, float]] = []
    _timed(rows, "import torch and torchvision", lambda: (__import__("torch"), __import__("torchvision")))

    def import_ours() -> None:
        import convsurgeon.conversion.steps  # noqa: F401

    _timed(rows, "import convsurgeon", import_ours)
    from convsurgeon.conversion.patient import Patient
    from convsurgeon.conversion.saved import save
    from convsurgeon.conversion.steps import planned
    from convsurgeon.models.loading import load_model
    from convsurgeon.models.rebuild import Rebuild
    from convsurgeon.planning.recipe import Recipe
    from convsurgeon.report.record import Report
    from convsurgeon.surgery.operate import operate
    from convsurgeon.surgery.verify import verify

    loaded = _timed(rows, "build the model", lambda: load_model(model_name, weights="none"))
    rebuild = Rebuild.of(loaded.spec)
    patient = _timed(
        rows,
        "survey",
        lambda: Patient.admit(loaded.model, loaded.example_inputs, loaded.weights, rebuild=rebuild),
    )
    plan = _timed(rows, "plan", lambda: planned(patient, Recipe(model=model_name, method=method)))
    new = _timed(rows, "surgery", lambda: operate(loaded.model, plan))
    _timed(rows, "verify", lambda: verify(loaded.model, new, plan, patient.survey, patient.inputs))
    report = Report(plan=plan, weights=loaded.weights, inherited="")
    with tempfile.TemporaryDirectory() as folder:
        _timed(rows, "save", lambda: save(Path(folder) / "out", new, plan, report, rebuild, force=False))
    return rows


def _processes(model_name: str, method: str, runs: int) -> tuple[list[float], list[float]]:
    """Seconds of whole processes, the two kinds in turn."""
    imports, converts = [], []
    for _ in range(runs):
        imports.append(_seconds([sys.executable, "-c", "import torch, torchvision"]))
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "convsurgeon", "convert", model_name, "--method", method]
            converts.append(_seconds([*command, "--weights", "none", "-o", f"{folder}/out"]))
    return imports, converts


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "CONVSURGEON_OFFLINE": "1"})
    return time.perf_counter() - start


@click.command()
@click.argument("model", default="resnet50")
@click.option("--method", default="compconv128", show_default=True)
@click.option("--runs", default=5, show_default=True, help="Whole processes of each kind.")
def main(model: str, method: str, runs: int) -> None:
    """Print both tables."""
    console = Console()
    table = Table("stage", "seconds", title=f"{model}, {method}, one process")
    for name, seconds in _stages(model, method):
        table.add_row(name, f"{seconds:.2f}")
    console.print(table)
    imports, converts = _processes(model, method, runs)
    table = Table("whole process", "median s", "min s", "max s", title=f"{runs} runs of each, in turn")
    for name, values in (("import torch, torchvision", imports), ("convsurgeon convert", converts)):
        table.add_row(name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}")
    console.print(table)
    extra = statistics.median(c - i for c, i in zip(converts, imports, strict=True))
    console.print(f"a conversion takes {extra:.2f} s more than the imports (median of pairs)")


if __name__ == "__main__":
    main()
