"""Accuracy against latency for swaps, all moves and channel pruning, on a network trained here; resumable.

    python -m benchmarks.frontier make --net vgg      # what is not there yet, with equal training; minutes
    python -m benchmarks.frontier time --net vgg      # all of them in turn, on a quiet machine
    python -m benchmarks.frontier page                # tables to the terminal, plots to docs/

Needs the extras onnx and openvino, and torch-pruning. The networks are those of benchmarks.accuracy, seed 0.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from rich.console import Console

from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from benchmarks.frontier.networks import LATENCY_BATCH, SEED, Made, folder_of, keep, kept, points
from benchmarks.frontier.page import pictures, tables
from benchmarks.frontier.rows import Row, merged
from benchmarks.frontier.times import RUNTIMES, milliseconds
from benchmarks.recovery.run import STEPS
from benchmarks.rows import read_rows, write_rows
from convsurgeon.base.errors import TargetError
from convsurgeon.runtimes.machine import busy, device_name

ROWS = Path(__file__).with_name("rows.jsonl")
LOG = Console(stderr=True)
net_option = click.option("--net", type=click.Choice(sorted(NETS)), default="vgg", show_default=True)
cache_option = click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
data_option = click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)


@click.group(help=__doc__)
def main() -> None:
    """Show the commands."""


@main.command()
@net_option
@cache_option
@data_option
@click.option("--steps", type=click.IntRange(0), default=STEPS, show_default=True, help="Of training; 0 for none.")
@click.option("--in-time/--in-macs", default=False, help="Points planned for milliseconds: on a quiet machine.")
def make(net: str, cache: Path, data: Path, steps: int, in_time: bool) -> None:
    """Make, judge and keep the networks that are not there yet."""
    model, splits = load_trained(net, SEED, cache), (load_train(data), load_test(data))
    sample = Sample.of(splits[0], SEED)
    for point in points():
        folder = folder_of(cache, net, point)
        if point.in_time != in_time or (folder / "made.json").is_file():
            continue
        try:
            LOG.print(keep(folder, point, model, sample, splits, steps))
        except TargetError as reason:
            LOG.print(f"{point.method}: {reason}", markup=False)


@main.command()
@net_option
@cache_option
@data_option
@click.option("--batch", type=click.IntRange(1), default=LATENCY_BATCH, show_default=True)
@click.option("--rows", type=click.Path(path_type=Path), default=ROWS, show_default=True)
def time(net: str, cache: Path, data: Path, batch: int, rows: Path) -> None:
    """Time the original and all kept networks in turn, once for each runtime, and keep the rows."""
    found = [point for point in points() if (folder_of(cache, net, point) / "made.json").is_file()]
    networks = [load_trained(net, SEED, cache), *(kept(folder_of(cache, net, point), point, net) for point in found)]
    if reason := busy():
        LOG.print(reason, markup=False)
    times = {}
    for runtime in RUNTIMES:
        whole, *others = milliseconds(networks, load_test(data).images[:batch], runtime)
        times[runtime] = [100 * ms / whole for ms in others]
        LOG.print(f"{runtime}: the original {whole:.2f} ms", markup=False)
    machine = f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, batch {batch}"
    fresh = []
    for number, point in enumerate(found):
        made = Made(**json.loads((folder_of(cache, net, point) / "made.json").read_text()))
        judged = {name: getattr(made, name) for name in ("macs", "changed", "lost", "lost_after_training")}
        ratios = {runtime: of_all[number] for runtime, of_all in times.items()}
        who = {"net": net, "machine": machine, "method": point.method, "target": point.target}
        fresh.append(Row(**who, in_time=point.in_time, **judged, times=ratios))
    write_rows(merged(read_rows(Row, rows), fresh), rows)
    click.echo(tables(fresh))


@main.command()
@click.option("--rows", type=click.Path(path_type=Path), default=ROWS, show_default=True)
@click.option("--plots", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def page(rows: Path, plots: Path) -> None:
    """Print the tables, write the plots."""
    found = read_rows(Row, rows)
    click.echo(tables(found))
    for path in pictures(found, plots):
        LOG.print(f"wrote {path}", markup=False)


if __name__ == "__main__":
    main()
