"""Residual branches left out: what each one's loss does to the outputs, and what it brings to a budget of MACs.

python -m benchmarks.accuracy.train deep --seed 0 --epochs 1 --no-bf16      # once
python -m benchmarks.dropping --seed 0
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.errors import TargetError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.planning.plan_blocks import RESTORED_BY, PlanBlock
from convsurgeon.planning.recipe import Recipe
from convsurgeon.transfer.agreement import agreement
from convsurgeon.transfer.drop_damage import measure_drops

NET = "deep"
MOVES = ("swap", "drop", "swap,drop", "swap,narrow,streams", "swap,narrow,streams,drop")
SHARES = (0.70, 0.50)
IMAGES = 512
JUDGED_ON = 2000


def branches(model: nn.Module, sample: Sample) -> Iterator[str]:
    """One row for each branch: output errors in percent without it alone, by what stands in for it."""
    found = convsurgeon.inspect(model, sample.example)
    blocks = [block for block in found.blocks if block.closed is None]
    macs = {site.name: site.cost.macs for site in found.sites}
    rows = [
        PlanBlock(block=block, action="kept", reason="", restored_by=kind).as_dropped(True)
        for block in blocks
        for kind in RESTORED_BY
    ]
    errors = iter(measure_drops(model, rows, [sample.images[:IMAGES]]))
    for block in blocks:
        share = sum(macs.get(name, 0) for name in block.modules) / found.total.macs
        fitted = (100 * (next(errors) or 0.0) for _ in RESTORED_BY)
        yield f"| {block.name} | {100 * share:.1f} | {' | '.join(f'{error:.3g}' for error in fitted)} |"


def budgets(model: nn.Module, sample: Sample, images: Tensor) -> Iterator[str]:
    """One row for each set of moves and share of the MACs; errors and classes that change in percent."""
    for share in SHARES:
        for moves in MOVES:
            recipe = Recipe(moves=moves, target=f"macs={share:.0%}")  # type: ignore[arg-type]
            calibration = list(sample.images[:IMAGES].split(64))
            try:
                done = convsurgeon.convert(
                    model, sample.example, calibration=calibration, recipe=recipe, progress=False
                )
            except TargetError:
                yield f"| {share:.0%} | {moves} | out of reach | | | |"
                continue
            close = agreement(model, done.model, [as_inputs(images)], held_back=True)
            counts = " | ".join(str(len(rows)) for rows in (done.plan.replaced, done.plan.narrowed, done.plan.dropped))
            error, same = 100 * (close.output_error or 0.0), 100 * (close.top1 or 0.0)
            yield f"| {share:.0%} | {moves} | {counts} | {error:.3g} | {100 - same:.2f} |"


@click.command(help=__doc__)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(seed: int, cache: Path, data: Path) -> None:
    """Measure and print each row as it comes."""
    model, sample = load_trained(NET, seed, cache).eval(), Sample.of(load_train(data), seed)
    images = load_test(data).images[:JUDGED_ON]
    with torch.no_grad():
        click.echo("| branch | MACs, % | scale and shift | 1×1 map |\n|---|---|---|---|")
        for row in branches(model, sample):
            click.echo(row)
        click.echo(
            "\n| MACs | moves | swaps | narrowed | dropped | output error | changed |\n|---|---|---|---|---|---|---|"
        )
        for row in budgets(model, sample, images):
            click.echo(row)


if __name__ == "__main__":
    main()
