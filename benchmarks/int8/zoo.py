"""Forty networks of the compatibility matrix in int8, before and after a conversion to half of their MACs; resumable.

    python -m benchmarks.int8.zoo                     # the rows that zoo.jsonl lacks, then the table in docs/lab
    python -m benchmarks.int8.zoo --only 'timm:*'

Each network (benchmarks.int8.taught) and its conversion are prepared and quantised for ONNX Runtime as ``export
--int8`` does it, but traced by the TorchScript exporter, which takes a tenth of the time. Each int8 graph is compared
with its own network in float32 on test images, so that what int8 takes from a conversion stands beside what it takes
from the original. Plans are made without data, and fitted on the images that ranges are measured on. Needs the extra
onnx, timm and scikit-learn.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR
from benchmarks.conversions import reachable
from benchmarks.int8.taught import NAMES, Images, taught
from benchmarks.places import filled
from benchmarks.rows import read_rows, write_rows
from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import silent
from convsurgeon.base.records import Record
from convsurgeon.deployment.lowering import lower
from convsurgeon.deployment.quantising.biases import bias_shifts, shifted
from convsurgeon.deployment.quantising.equalise import equalised
from convsurgeon.deployment.quantising.losses import layer_losses
from convsurgeon.deployment.quantising.rounding import RoundedNetwork
from convsurgeon.runtimes.onnx_conversion import run_onnx, session_for, to_onnx
from convsurgeon.runtimes.onnx_int8 import onnx_in_int8
from convsurgeon.survey.counting import count

SHARE, ENOUGH = 0.5, 97.0
WEIGHED, NAMED = 16, 3
ROWS = Path(__file__).with_name("zoo.jsonl")
LOG = Console(stderr=True)


class Quantised(Record):
    """A network in int8 beside itself in float32, in percent: top-1 of both, agreement, and the output error.

    ``output_error`` is ‖o − ô‖² / ‖o − mean(o)‖² with the mean of each class's output over the images, so that it is
    relative to what tells images apart. ``losing``: where less than ``ENOUGH`` percent agree, the layers that lose most
    when they alone are rounded.
    """

    top1: float
    top1_in_int8: float
    agreement: float
    output_error: float
    losing: tuple[str, ...] = ()


class Row(Record):
    """One network; ``kept`` is the conversion's percent of its MACs, ``failed`` why there is no more of it."""

    name: str
    kept: float | None = None
    original: Quantised | None = None
    converted: Quantised | None = None
    failed: str = ""


def examined(name: str, images: Images) -> Row:
    """Build, teach, convert and quantise one network."""
    row, example = Row(name=name), images.measured[0][:1]
    try:
        model = taught(name, images)
        row = row.model_copy(update={"original": _quantised(model, images)})
        plan = convsurgeon.plan(model, example, target=reachable(model, example, "auto", SHARE))
        done = convsurgeon.apply(model, plan, example, calibration=list(images.measured)).model
        kept = 100 * count(done, as_inputs(example)).macs / count(model, as_inputs(example)).macs
        return row.model_copy(update={"kept": kept, "converted": _quantised(done, images)})
    except ConvsurgeonError as error:
        return row.model_copy(update={"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"})


@torch.no_grad()
def _quantised(model: nn.Module, images: Images) -> Quantised:
    example, batches = as_inputs(images.measured[0][:1]), [as_inputs(batch) for batch in images.measured]
    # The forms with the fewest multiplications: no clock, so that a row is the same wherever it is made.
    even = equalised(lower(model, example, runtime=None).model, batches)
    rounding = RoundedNetwork(even, batches)
    prepared = shifted(even, bias_shifts(rounding, batches))
    graph = onnx_in_int8(to_onnx(prepared, example, first="TorchScript").content, batches)
    session = session_for(graph, threads=torch.get_num_threads())
    wanted = torch.cat([model(batch) for batch in images.judged])
    found = torch.cat([run_onnx(session, as_inputs(batch))[0] for batch in images.judged])
    classes, others = wanted.argmax(1), found.argmax(1)
    agreement = _percent(classes == others)
    few = [as_inputs(images.measured[0][:WEIGHED])]
    losses = layer_losses(rounding, few, silent)[:NAMED] if agreement < ENOUGH else ()
    return Quantised(
        top1=_percent(classes == images.right),
        top1_in_int8=_percent(others == images.right),
        agreement=agreement,
        output_error=100 * float((wanted - found).square().sum() / (wanted - wanted.mean(0)).square().sum()),
        losing=tuple(f"{loss.name} {100 * loss.output_error:.2g} %" for loss in losses),
    )


def _percent(holds: torch.Tensor) -> float:
    return round(100 * float(holds.float().mean()), 3)


def table(rows: Sequence[Row]) -> str:
    """Markdown, a line for each network: the original, then its conversion."""
    head = ["network", "top-1, % → in int8", "agreement, %", "output error, %", "MACs kept, %"]
    head += ["converted: top-1, % → in int8", "agreement, %", "output error, %"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        kept = row.failed if row.kept is None else f"{row.kept:.0f}"
        lines.append("| " + " | ".join([row.name, *_figures(row.original), kept, *_figures(row.converted)]) + " |")
    return "\n".join(lines) + "\n"


def _figures(found: Quantised | None) -> list[str]:
    if found is None:
        return ["–"] * 3
    return [f"{found.top1:.1f} → {found.top1_in_int8:.1f}", f"{found.agreement:.1f}", f"{found.output_error:.2g}"]


@click.command(help=__doc__)
@click.option("--only", default="*", show_default=True, help="Networks whose name matches.")
@click.option("--rows", "file", type=click.Path(path_type=Path), default=ROWS, show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default=Path("docs/lab/int8.md"), show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(only: str, file: Path, page: Path, data: Path) -> None:
    """Examine the networks that have no row yet, then fill the page's table."""
    images = Images.of(data)
    for name in fnmatch.filter(NAMES, only):
        rows = read_rows(Row, file)
        if name not in {row.name for row in rows}:
            row = examined(name, images)
            known = {one.name: one for one in (*rows, row)}
            write_rows([known[one] for one in NAMES if one in known], file)
            LOG.print(table([row]).splitlines()[-1], markup=False)
    page.write_text(filled(page.read_text(encoding="utf-8"), {"zoo": table(read_rows(Row, file))}), encoding="utf-8")


if __name__ == "__main__":
    main()
