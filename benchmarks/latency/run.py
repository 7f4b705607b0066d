"""Latency of every method, runtime and batch size beside channel pruning; resumable, kept in docs/latency.jsonl.

    python -m benchmarks.latency.run                            # what this machine has not timed, then page and plot
    python -m benchmarks.latency.run --device cuda              # the same on a GPU
    python -m benchmarks.latency.run --net resnet18 --method igc-b16 --runtime eager --batch 1 --again
    python -m benchmarks.latency.run --table-only

Needs the extras onnx and openvino, torch-pruning and matplotlib. Run it on an idle machine; a busy one is noted in
every cell. ``--plain`` leaves out the lowering, for all networks of a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache as once
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import nn

from benchmarks.latency.cells import formed, measured, precisions
from benchmarks.latency.networks import METHODS, NETS, converted, macs, pruned
from benchmarks.latency.rows import Cell, Row, merged
from benchmarks.latency.table import draw, page
from benchmarks.rows import read_rows, write_rows
from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.runtimes.machine import device_name
from convsurgeon.runtimes.machine import threads as torch_threads

SHARES = (0.50, 0.25)
RUNTIMES = ("eager", "onnxruntime", "openvino")
BATCHES = (1, 8, 128)
# What a device is timed in: a CPU answers a few images at a time, a GPU many.
ON = {"cpu": (RUNTIMES, (1, 8)), "cuda": (("eager",), (1, 128))}
LOG = Console(stderr=True)


@once
def original_of(net: str) -> nn.Module:
    """Built once, from one seed."""
    torch.manual_seed(0)
    return NETS[net].build().eval()


@once
def formed_original(cell: Cell, precision: str) -> nn.Module:
    """Formed once for all methods and shares, which the cell leaves blank."""
    return formed(cell, original_of(cell.net), precision)


@once
def ours(net: str, method: str, share: float) -> nn.Module:
    """Converted once for all runtimes and batch sizes."""
    return converted(original_of(net), NETS[net], method, share)


@once
def rival(net: str, limit: int) -> nn.Module | None:
    """Pruned once for each number of MACs; None where Torch-Pruning can't."""
    try:
        return pruned(original_of(net), NETS[net], limit)
    # A rival that fails on a network shall not end the sweep; the table shows a dash.
    except (RuntimeError, ValueError, AttributeError, KeyError, ConvsurgeonError) as error:
        LOG.print(f"Torch-Pruning on {net}: {type(error).__name__}: {error}", markup=False)
        return None


def wanted(
    net: str | None,
    method: str | None,
    share: float | None,
    runtime: str | None,
    batch: int | None,
    plain: bool,
    device: str,
) -> Iterator[Cell]:
    """The cells, network by network."""
    given = {"net": net, "method": method, "share": share, "runtime": runtime, "batch": batch}
    for values in itertools.product(NETS, METHODS, SHARES, *ON[device]):
        cell = Cell(**dict(zip(given, values, strict=True)), lowered=not plain, on=device)
        if all(wish in (None, getattr(cell, name)) for name, wish in given.items()):
            yield cell


def run_cell(cell: Cell) -> list[Row]:
    """Convert, prune to the same MACs, time all three in turn."""
    net, new = NETS[cell.net], ours(cell.net, cell.method, cell.share)
    other = rival(cell.net, macs(new, net))
    twins = [new] if other is None else [new, other]
    whole = macs(original_of(cell.net), net)
    rows = []
    for precision in precisions(cell):
        first = formed_original(cell.model_copy(update={"method": "", "share": 1.0}), precision)
        models = [first, *(formed(cell, twin, precision) for twin in twins)]
        rows.append(measured(cell, precision, models, [macs(twin, net) / whole for twin in twins]))
    for row in rows:
        beside = "" if row.rival_ratio is None else f", Torch-Pruning {row.rival_ratio:.2f}"
        what = f"{cell.net} {cell.method} {cell.share:.0%} {cell.runtime} {row.precision} b{cell.batch}"
        LOG.print(f"{what}: {row.ratio:.2f} at {row.macs_kept:.1%}{beside}", markup=False)
    return rows


@click.command()
@click.option("--net", type=click.Choice(list(NETS)))
@click.option("--method", type=click.Choice(list(METHODS)))
@click.option("--share", type=click.Choice([str(share) for share in SHARES]), help="Of the MACs.")
@click.option("--runtime", type=click.Choice(RUNTIMES))
@click.option("--batch", type=click.Choice([str(batch) for batch in BATCHES]))
@click.option("--plain", is_flag=True, help="Time the networks as they are, without lowering.")
@click.option("--device", type=click.Choice(list(ON)), default="cpu", show_default=True, help="Where to time.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's own number]")
@click.option("--again", is_flag=True, help="Time what this machine has timed already, too.")
@click.option(
    "--rows", "rows_file", type=click.Path(path_type=Path), default=Path("docs/latency.jsonl"), show_default=True
)
@click.option(
    "--page", "page_file", type=click.Path(path_type=Path), default=Path("docs/latency.md"), show_default=True
)
@click.option(
    "--plot", "plot_file", type=click.Path(path_type=Path), default=Path("docs/latency.svg"), show_default=True
)
@click.option("--table-only", is_flag=True, help="Write the page and the plot of what is there.")
def main(
    net: str | None,
    method: str | None,
    share: str | None,
    runtime: str | None,
    batch: str | None,
    plain: bool,
    device: str,
    threads: int | None,
    again: bool,
    rows_file: Path,
    page_file: Path,
    plot_file: Path,
    table_only: bool,
) -> None:
    """Fill the missing cells, then write the page and the plot."""
    part, images = float(share) if share else None, int(batch) if batch else None
    cells = [] if table_only else list(wanted(net, method, part, runtime, images, plain, device))
    if not cells and not table_only:
        raise click.ClickException(f"no cell fits: on {device} there are {ON[device]}")
    with torch_threads(threads) as count:
        here = (device_name(torch.device(device)), count)
        done = {row.cell for row in read_rows(Row, rows_file) if (row.device, row.threads) == here}
        for cell in cells:
            if again or cell not in done:
                fresh = run_cell(cell)
                write_rows(merged(read_rows(Row, rows_file), fresh), rows_file)
    rows = read_rows(Row, rows_file)
    if not rows:
        raise click.ClickException(f"nothing timed in {rows_file} yet")
    draw(rows, plot_file)
    page_file.parent.mkdir(parents=True, exist_ok=True)
    page_file.write_text(page(rows, plot_file.name), encoding="utf-8")
    click.echo(f"{len(rows)} rows → {page_file}, {plot_file}")


if __name__ == "__main__":
    main()
