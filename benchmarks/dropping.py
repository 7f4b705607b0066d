"""Residual branches left out: what each one's loss does to the outputs, and what it brings to a budget of MACs.

python -m benchmarks.dropping                    # the demonstration's network, on its digits
python -m benchmarks.accuracy.train deep --seed 0 --epochs 1 --no-bf16      # once
python -m benchmarks.dropping --net deep --seed 0
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.errors import TargetError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.demo.data import digits
from convsurgeon.demo.net import trained
from convsurgeon.planning.plan_blocks import RESTORED_BY, PlanBlock
from convsurgeon.planning.recipe import Recipe
from convsurgeon.transfer.agreement import agreement
from convsurgeon.transfer.drop_damage import measure_drops

DIGITS = "digits"
SHARES = (0.70, 0.50)
IMAGES = 512
SETS = {
    "swap": Recipe(),
    "drop": Recipe(moves=("drop",)),
    "swap,drop": Recipe(moves=("swap", "drop")),
    "swap,narrow,streams": Recipe(moves=("swap", "narrow", "streams")),
    "swap,narrow,streams,drop": Recipe(moves=("swap", "narrow", "streams", "drop")),
}


def branches(model: nn.Module, fitted_on: Tensor) -> Iterator[str]:
    """One row for each branch: output errors in percent without it alone, by what stands in for it."""
    found = convsurgeon.inspect(model, fitted_on[:1])
    blocks = [block for block in found.blocks if block.closed is None]
    macs = {site.name: site.cost.macs for site in found.sites}
    rows = [
        PlanBlock(block=block, action="kept", reason="", restored_by=kind).as_dropped(True)
        for block in blocks
        for kind in RESTORED_BY
    ]
    errors = iter(measure_drops(model, rows, [fitted_on]))
    for block in blocks:
        share = sum(macs.get(name, 0) for name in block.modules) / found.total.macs
        fitted = (100 * (next(errors) or 0.0) for _ in RESTORED_BY)
        yield f"| {block.name} | {100 * share:.1f} | {' | '.join(f'{error:.3g}' for error in fitted)} |"


def budgets(model: nn.Module, fitted_on: Tensor, judged_on: Tensor) -> Iterator[str]:
    """One row for each set of moves and share of the MACs; errors and classes that change in percent."""
    calibration = list(fitted_on.split(64))
    for share in SHARES:
        for moves, recipe in SETS.items():
            try:
                done = convsurgeon.convert(
                    model,
                    fitted_on[:1],
                    target=f"macs={share:.0%}",
                    calibration=calibration,
                    recipe=recipe,
                    progress=False,
                )
            except TargetError:
                yield f"| {share:.0%} | {moves} | – | – | – | out of reach | – |"
                continue
            close = agreement(model, done.model, map(as_inputs, judged_on.split(500)), held_back=True)
            counts = " | ".join(str(len(rows)) for rows in (done.plan.replaced, done.plan.narrowed, done.plan.dropped))
            error, same = 100 * (close.output_error or 0.0), 100 * (close.top1 or 0.0)
            yield f"| {share:.0%} | {moves} | {counts} | {error:.3g} | {100 - same:.2f} |"


@click.command(help=__doc__)
@click.option("--net", type=click.Choice((DIGITS, *sorted(NETS))), default=DIGITS, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, cache: Path, data: Path) -> None:
    """Measure and print each row as it comes."""
    if net == DIGITS:
        model, (train, test) = trained(), digits()
        fitted_on, judged_on = train.images, test.images
    else:
        model, fitted_on = load_trained(net, seed, cache), Sample.of(load_train(data), seed).images
        judged_on = load_test(data).images
    fitted_on = fitted_on[:IMAGES]
    with torch.no_grad():
        click.echo("| branch | MACs, % | scale and shift | 1×1 map |\n|---|---|---|---|")
        for row in branches(model, fitted_on):
            click.echo(row)
        click.echo(
            "\n| MACs | moves | swaps | narrowed | dropped | output error | changed |\n|---|---|---|---|---|---|---|"
        )
        for row in budgets(model, fitted_on, judged_on):
            click.echo(row)


if __name__ == "__main__":
    main()
